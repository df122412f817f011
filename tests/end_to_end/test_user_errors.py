"""A mistake ends with exit code 2 and one line, in real processes.

The table of mistakes is in ``test_mistakes.py``.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gnnrec.cli.main import run_command
from tests.end_to_end.commands import GNNREC, ROOT, TRAIN, fail_with_one_line, run, torchrun
from tests.end_to_end.conftest import Chain

pytestmark = pytest.mark.slow


def test_unknown_command():
    line = fail_with_one_line([*GNNREC, "recomend", "run"])
    assert line.startswith("gnnrec: error: recomend is not a command") and "recommend" in line


def test_a_reader_that_has_enough_is_no_error():
    program = subprocess.Popen([*GNNREC, "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait(timeout=60) == 1
    program.stderr.close()


def test_missing_dataset(tmp_path: Path):
    line = fail_with_one_line([*TRAIN, "--data", tmp_path / "nothing", "--run-dir", tmp_path / "run"])
    assert line.startswith("train_dist.py: error: ") and "gnnrec prepare" in line and str(tmp_path / "nothing") in line
    assert not (tmp_path / "run").exists()


def test_more_ranks_than_shards(chain: Chain, tmp_path: Path):
    run_command(["prepare", str(tmp_path / "one"), "--ratings", str(chain.directory / "ratings"), "--shards", "1"])
    options = ["--data", tmp_path / "one", "--run-dir", tmp_path / "run", "--device", "cpu", "--wandb.mode", "disabled"]
    result = run(torchrun(ROOT / "train_dist.py", *options))
    lines = [line for line in result.stderr.splitlines() if "train_dist.py: error" in line]
    assert result.returncode != 0 and len(lines) == 1, result.stderr
    assert "2 ranks" in lines[0] and "1 shard" in lines[0] and "--shards 2" in lines[0]
    assert 'train_dist.py", line' not in result.stderr, "torchrun complains at length, the program must not"
