"""The hooks of tests/conftest.py keep groups in one process, and retry tests that depend on the clock and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
GROUPS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("group", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("a", "b")])
def test_process(number, group):
    (pathlib.Path(__file__).parent / f"{group}-{os.getpid()}").touch()
"""
FILE = """
import os, pathlib, pytest, time

{mark}
@pytest.mark.parametrize("number", range(10))
def test_process(number):
    (pathlib.Path(__file__).parent / f"{name}-{{os.getpid()}}").write_text(str(time.time()))
"""
FLAKY = """
import pathlib, pytest

@pytest.fixture
def attempt(tmp_path, request):
    file = pathlib.Path(__file__).parent / request.node.name
    file.write_text((file.read_text() if file.exists() else "") + f"{tmp_path} ")
    return len(file.read_text().split())

@pytest.mark.timing
def test_late_once(attempt):
    assert attempt > 1

@pytest.mark.timing
def test_always_late(attempt):
    assert attempt > 9

def test_wrong_once(attempt):
    assert attempt > 1
"""


def run_pytest(directory: Path, program: str, *options: str) -> subprocess.CompletedProcess:
    """Runs a file of tests with the hooks of ``tests/conftest.py``."""
    (directory / "test_program.py").write_text(program)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-rfR",
        "-p",
        "tests.conftest",
        "--rootdir",
        directory,
        *options,
        directory,
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_group_runs_in_one_process(tmp_path):
    """Without groups, which pytest-xdist keeps in the ends of names, each process would start a cluster of SLURM.

    A file is a group too, so that its fixtures are made once; files with slow tests begin before quick ones.
    """
    pytest.importorskip("xdist")
    quick, slow = ["early", "first", "second"], ["late", "last"]
    for name in quick + slow:
        mark = "@pytest.mark.slow" if name in slow else ""
        (tmp_path / f"test_{name}.py").write_text(FILE.format(name=name, mark=mark))
    done = run_pytest(tmp_path, GROUPS, "-n", "2")
    assert done.returncode == 0 and "70 passed" in done.stdout, done.stdout + done.stderr
    found = {name: list(tmp_path.glob(f"{name}-*")) for name in ("a", "b", *quick, *slow)}
    assert [len(files) for files in found.values()] == [1] * 7
    times = {name: float(file.read_text()) for name, (file,) in found.items() if name in quick + slow}
    assert max(times[name] for name in slow) < max(times[name] for name in quick)


def test_a_test_that_depends_on_the_clock_is_retried_once_and_named(tmp_path):
    pytest.importorskip("pytest_rerunfailures")
    done = run_pytest(tmp_path, FLAKY, "-p", "no:xdist")
    assert "2 failed, 1 passed" in done.stdout and "2 rerun" in done.stdout, done.stdout + done.stderr
    places = {name: (tmp_path / name).read_text().split() for name in ("test_late_once", "test_always_late")}
    assert all(len(set(paths)) == 2 for paths in places.values()), places
    assert len((tmp_path / "test_wrong_once").read_text().split()) == 1
    assert "RERUN test_program.py::test_late_once" in done.stdout
    assert "FAILED test_program.py::test_always_late" in done.stdout
