"""Tests that share something costly run in one process of pytest-xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROGRAM = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(10))
@pytest.mark.parametrize("group", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("a", "b")])
def test_process(number, group):
    (pathlib.Path(__file__).parent / f"{group}-{os.getpid()}").touch()
"""


def test_a_group_runs_in_one_process(tmp_path):
    """Groups are kept in the ends of names; without them each process would start a cluster of SLURM."""
    pytest.importorskip("xdist")
    (tmp_path / "test_pids.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.conftest", "--rootdir", tmp_path, tmp_path]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "20 passed" in done.stdout, done.stdout + done.stderr
    assert [len(list(tmp_path.glob(f"{group}-*"))) for group in ("a", "b")] == [1, 1]
