"""The report on releases of Python and torch counts what passed, failed and was skipped."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.versions import FOLDERS, environment, is_green, run_tests
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


@pytest.mark.slow
@pytest.mark.processes
def test_a_run_without_a_passed_test_is_not_green(tmp_path):
    (tmp_path / "test_made.py").write_text("import pytest\n\n\n@pytest.mark.slow\ndef test_slow():\n    pass\n")
    found = run_tests(sys.executable, [str(tmp_path / "test_made.py")])
    assert (found["passed"], found["failed"], found["exit_status"]) == (0, 0, 5) and not is_green(found)
    assert is_green(found | {"passed": 1, "exit_status": 0}) and is_green({"passed": 1, "failed": 0})
    assert not is_green(found | {"passed": 1, "exit_status": 0, "failed": 1})


def test_an_installation_that_failed_is_made_again(tmp_path, monkeypatch):
    """uv makes the interpreter first."""
    calls, fails = [], [True, False]

    def run(command: list[str], check: bool) -> None:
        calls.append(command[1])
        if command[1] == "venv":
            interpreter = Path(command[-1]) / "bin" / "python"
            interpreter.parent.mkdir(parents=True)
            interpreter.touch()
        elif command[2] == "install" and fails.pop(0):
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(subprocess.CalledProcessError):
        environment(tmp_path, "3.12", "2.14.1")
    assert environment(tmp_path, "3.12", "2.14.1").exists() and calls == ["venv", "pip", "venv", "pip", "pip"]
    assert environment(tmp_path, "3.12", "2.14.1").exists() and len(calls) == 5


def test_the_selection_has_all_tests_of_the_package():
    named = {path.split("/")[1] for path in FOLDERS}
    assert all((ROOT / path).exists() for path in FOLDERS)
    packages = {path.parent.name for path in (ROOT / "gnnrec").glob("*/__init__.py")}
    tested = {path.name for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert packages & tested - named == {"distributed"}  # its tests start processes
