"""``gnnrec train`` in one process and under torchrun, and the programs' own help and version."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import train_dist
from gnnrec import __version__
from gnnrec.cli.main import COMMANDS, command_parser, find_command, run_command
from gnnrec.config.train_config import train_parser
from gnnrec.errors import UserError
from tests.datasets import write_dataset
from tests.end_to_end.commands import succeed, torchrun

WORDS = ["--epochs", "2", "--model.dim", "8", "--loader.folds", "3", "--baselines", "false", "--device", "cpu"]
#: Figures that do not depend on the time that training took.
FIGURES = ("test_rmse", "validation_rmse", "steps", "model_fingerprint", "world_size")


def words(data: Path, run: Path) -> list[str]:
    return ["--data", str(data), "--run-dir", str(run), *WORDS, "--wandb.mode", "disabled"]


def figures(run: Path) -> dict:
    summary = json.loads((run / "summary.json").read_text())
    return {name: summary[name] for name in FIGURES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("train") / "data").directory


def test_it_trains_as_train_dist_does(data, tmp_path, capsys):
    run_command(["train", *words(data, tmp_path / "command")])
    printed = capsys.readouterr().out
    train_dist.main(words(data, tmp_path / "script"))
    assert figures(tmp_path / "command") == figures(tmp_path / "script")
    assert "epoch 2/2" in printed and str(tmp_path / "command" / "summary.json") in printed
    with pytest.raises(UserError, match="holds a run already"):
        run_command(["train", *words(data, tmp_path / "command")])


@pytest.mark.slow
@pytest.mark.processes
def test_torchrun_starts_it_on_ranks(data, tmp_path):
    succeed(torchrun("-m", "gnnrec", "train", *words(data, tmp_path / "run")))
    assert figures(tmp_path / "run")["world_size"] == 2


def test_it_has_the_options_and_the_configuration_files_of_train_dist(tmp_path):
    command = command_parser("train", COMMANDS["train"])
    assert command.names() == train_parser().names()
    (tmp_path / "c.yaml").write_text("model: {dim: 5}\n")
    assert command.parse_args(["--config", str(tmp_path / "c.yaml"), "--data", "x", "--run-dir", "y"]).model.dim == 5


def test_a_value_that_cannot_be_is_refused_before_ranks_start():
    with pytest.raises(UserError, match="--optimizer.epochs 0: must be at least 1"):
        run_command(["train", "--data", "nothing", "--run-dir", "nowhere", "--epochs", "0"])


def test_version_and_help(capsys):
    run_command(["--version"])
    assert capsys.readouterr().out == f"gnnrec {__version__}\n"
    run_command(["--help"])
    lines = capsys.readouterr().out
    assert re.findall(r"^  (\w+)  +[a-z]", lines, re.MULTILINE) == list(COMMANDS)
    assert "train" in COMMANDS


def test_a_mistyped_command_is_suggested():
    with pytest.raises(UserError, match=r"trian is not a command \(did you mean train\?\)"):
        find_command(["trian"])
