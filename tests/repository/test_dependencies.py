"""pyproject.toml, launch/constraints.txt and the extras that messages name agree."""

from __future__ import annotations

import re

import pytest
from packaging.utils import canonicalize_name

from tests.repository.project import PROJECT, ROOT, constraints, requirements


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_exact_version_is_in_the_range(requirement):
    version = constraints().get(canonicalize_name(requirement.name))
    assert version is None or requirement.specifier.contains(version)


@pytest.mark.parametrize("package", ["numba", "jsonargparse", "torch", "torch-geometric"])
def test_packages_whose_internals_are_used_have_an_upper_bound(package):
    (requirement,) = [each for each in requirements() if canonicalize_name(each.name) == package]
    assert "<" in [each.operator for each in requirement.specifier]


def test_extras_in_messages_and_documents_exist():
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "gnnrec").rglob("*.py")]
    named = {name for path in files for name in re.findall(r"gnnrec\[([a-z-]+)\]", path.read_text(encoding="utf-8"))}
    assert {"wandb", "report", "tune"} <= named <= set(PROJECT["optional-dependencies"])
