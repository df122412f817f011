"""A file has no more lines than CONTRIBUTING.md allows."""

from __future__ import annotations

import re

import pytest

from tests.repository.project import ROOT

RULE = re.search(
    r"A file of `gnnrec` has at most (\d+) lines, a test file at most (\d+)",
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
)
LIMITS = {"gnnrec": int(RULE[1]), "tests": int(RULE[2])}


@pytest.mark.parametrize("folder", LIMITS)
def test_files_are_small(folder):
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert len(lines) > 100
    large = {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > LIMITS[folder]}
    assert large == {}


def test_the_limits_are_small():
    assert LIMITS["gnnrec"] <= 300 and LIMITS["tests"] <= 400
