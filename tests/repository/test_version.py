"""The version is in one file, and what is made for a release agrees with it."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import gnnrec
from tests.repository.project import PROJECT, ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
#: The first section of the changelog: what is between the brackets of its heading, its date if any, and its text.
HEADING, DATE, TEXT = re.search(
    r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?\n(.*?)(?=^## |\Z)",
    (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
).groups()


def test_it_is_one_literal_in_one_file():
    text = (ROOT / "gnnrec" / "_version.py").read_text(encoding="utf-8")
    assert re.findall(r'^__version__ = "(.*)"$', text, re.MULTILINE) == [gnnrec.__version__]
    assert str(Version(gnnrec.__version__)) == gnnrec.__version__
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT


def test_the_changelog_is_about_it():
    if HEADING == "Unreleased":
        assert re.match(rf"\s*Becomes {re.escape(gnnrec.__version__)}[.,]", TEXT) and DATE is None
    else:
        assert HEADING == gnnrec.__version__ and DATE is not None


def test_the_citation_is_of_it():
    assert CITATION["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(CITATION)
    assert str(CITATION["version"]) == gnnrec.__version__ and CITATION["license"] == PROJECT["license"]
    assert str(CITATION.get("date-released")) == str(DATE)
    assert CITATION["authors"] == [{"name": "The gnnrec authors"}]
    assert "the gnnrec authors" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A directory with the two files of a release. They are built from a package that cannot be imported."""
    place = tmp_path_factory.mktemp("release")
    source = place / "source"
    shutil.copytree(ROOT / "gnnrec", source / "gnnrec", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "repository", source / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"):
        shutil.copy(ROOT / name, source)
    (source / "gnnrec" / "__init__.py").write_text("import torch_that_is_not_there\n")
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", place / "dist", source]
    result = subprocess.run(words, cwd=place, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return place / "dist"


@pytest.mark.slow
def test_the_wheel_has_the_version_and_every_file_of_the_package(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        read = email.message_from_bytes(wheel.read(metadata))
    assert path.name == f"gnnrec-{gnnrec.__version__}-py3-none-any.whl" and read["Version"] == gnnrec.__version__
    files = (path for path in (ROOT / "gnnrec").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {path.relative_to(ROOT).as_posix() for path in files}
    assert {name for name in names if ".dist-info/" not in name} == wanted


@pytest.mark.slow
def test_the_source_distribution_has_no_half_of_the_tests(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert path.name == f"gnnrec-{gnnrec.__version__}.tar.gz"
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "pyproject.toml"} <= names
    assert [name for name in names if name.startswith("tests")] == []
