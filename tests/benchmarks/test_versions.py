"""The report on releases of Python and torch counts what passed, failed and was skipped."""

from __future__ import annotations

import platform
import sys

import pytest

from benchmarks.versions import FOLDERS, run_tests
from tests.end_to_end.commands import ROOT

TESTS = """
import pytest

def test_good():
    pass

def test_bad():
    assert 1 == 2

@pytest.fixture
def broken():
    raise OSError

def test_error(broken):
    pass

def test_left_out():
    pytest.skip("no reason")

@pytest.mark.slow
def test_slow():
    assert False
"""


@pytest.mark.slow
@pytest.mark.processes
def test_results_are_counted(tmp_path):
    (tmp_path / "test_made.py").write_text(TESTS)
    found = run_tests(sys.executable, [str(tmp_path / "test_made.py")])
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    assert sorted(name.rpartition("::")[2] for name in found["failures"]) == ["test_bad", "test_error"]
    assert found["versions"]["python"] == platform.python_version() and found["versions"]["torch"]
    assert found["printed_at_import"] == []


def test_the_selection_has_all_tests_of_the_package():
    named = {path.split("/")[1] for path in FOLDERS}
    assert all((ROOT / path).exists() for path in FOLDERS)
    packages = {path.parent.name for path in (ROOT / "gnnrec").glob("*/__init__.py")}
    tested = {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert packages & tested - named == {"distributed"}  # its tests start processes
