"""What a user gets wrong ends with exit code 2 and one line that says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gnnrec.cli import exit_on_user_error, run_command
from gnnrec.config import parse_train_config
from gnnrec.distributed import World
from gnnrec.training.run import train
from tests.end_to_end.commands import GNNREC, ROOT, TRAIN, fail_with_one_line, run, torchrun
from tests.end_to_end.conftest import Chain


def train_here(*arguments: str | Path) -> None:
    train(parse_train_config([str(word) for word in arguments]), World())


def refusal(capfd: pytest.CaptureFixture, function, *arguments) -> str:
    """The one line on standard error; these calls share this process because a new one takes seconds."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end, exit_on_user_error("gnnrec"):
        function(*arguments)
    lines = capfd.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1, lines
    return lines[0]


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


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["prepare", "out", "--ratngs", "x"], "ratings"),
        (["synth", "out", "--user", "3"], "users"),
        (["export", "run", "--out", "x", "--part-row", "5"], "part_rows"),
        (["recommend", "run", "--usr", "3"], "user"),
        (["evaluate", "run", "--chekpoint", "last"], "checkpoint"),
        (["tune", "data", "--out", "x", "--trails", "3"], "trials"),
        (["compare", "data", "--out", "x", "--seds", "3"], "seeds"),
    ],
)
def test_mistyped_option_of_a_command(capfd, arguments: list[str], nearest: str):
    line = refusal(capfd, run_command, arguments)
    assert f"did you mean {nearest}?" in line or f"--{nearest}" in line


@pytest.mark.parametrize(("option", "nearest"), [("--epochz", "optimizer.epochs"), ("--model.layer", "model.layers")])
def test_mistyped_option_of_training(capfd, option: str, nearest: str):
    line = refusal(capfd, train_here, "--data", "x", "--run-dir", "y", option, "3")
    assert nearest in line


def test_mistyped_name_in_a_configuration_file(capfd, tmp_path: Path):
    (tmp_path / "c.yaml").write_text("model:\n  architecure: gcn\n")
    line = refusal(capfd, train_here, "--config", tmp_path / "c.yaml", "--data", "x", "--run-dir", "y")
    assert "architecure" in line and "architecture" in line.replace("architecure", "")


def test_run_directory_that_is_there_already(capfd, chain: Chain):
    line = refusal(capfd, train_here, "--data", chain.data, "--run-dir", chain.run)
    assert str(chain.run) in line and "--overwrite" in line


def test_overwrite_leaves_other_directories_alone(capfd, chain: Chain, tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("years of work")
    line = refusal(capfd, train_here, "--data", chain.data, "--run-dir", tmp_path, "--overwrite")
    assert "not a run directory" in line and (tmp_path / "thesis.txt").exists()


def test_outputs_that_are_there_already(capfd, chain: Chain):
    ratings = str(chain.directory / "ratings")
    assert "--overwrite" in refusal(capfd, run_command, ["prepare", str(chain.data), "--ratings", ratings])
    assert "--overwrite" in refusal(capfd, run_command, ["export", str(chain.run), "--out", str(chain.export)])


def test_a_directory_that_is_no_run(capfd, tmp_path: Path):
    for command in (["evaluate"], ["recommend", "--user", "1"], ["export", "--out", str(tmp_path / "x")]):
        assert "not a run directory" in refusal(capfd, run_command, [command[0], str(tmp_path), *command[1:]])


def test_a_user_whom_nobody_knows(capfd, chain: Chain):
    assert "ids look like" in refusal(capfd, run_command, ["recommend", str(chain.run), "--user", "nobody"])


def test_another_dataset_than_the_run_was_trained_on(capfd, chain: Chain, tmp_path: Path):
    ratings = str(chain.directory / "ratings")
    run_command(["prepare", str(tmp_path / "other"), "--ratings", ratings, "--seed", "5"])
    line = refusal(capfd, run_command, ["evaluate", str(chain.run), "--data", str(tmp_path / "other")])
    assert "--data" in line


def test_more_ranks_than_shards(chain: Chain, tmp_path: Path):
    run_command(["prepare", str(tmp_path / "one"), "--ratings", str(chain.directory / "ratings"), "--shards", "1"])
    options = ["--data", tmp_path / "one", "--run-dir", tmp_path / "run", "--device", "cpu", "--wandb.mode", "disabled"]
    result = run(torchrun(ROOT / "train_dist.py", *options))
    lines = [line for line in result.stderr.splitlines() if "train_dist.py: error" in line]
    assert result.returncode != 0 and len(lines) == 1, result.stderr
    assert "2 ranks" in lines[0] and "1 shard" in lines[0] and "--shards 2" in lines[0]
    assert 'train_dist.py", line' not in result.stderr, "torchrun complains at length, the program must not"
