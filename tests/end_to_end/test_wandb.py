"""Weights & Biases is optional: nothing needs it when it is switched off. (Offline runs: ``test_chain.py``.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gnnrec.config import parse_train_config
from gnnrec.distributed import World
from gnnrec.errors import UserError
from gnnrec.training.run import train
from tests.end_to_end.commands import TRAIN, succeed
from tests.end_to_end.conftest import Chain


@pytest.fixture
def without_wandb(tmp_path: Path) -> Path:
    """A directory that, first in Python's path, makes wandb look as if it were not installed."""
    stub = tmp_path / "without_wandb" / "wandb.py"
    stub.parent.mkdir()
    stub.write_text("raise ModuleNotFoundError(\"No module named 'wandb'\", name='wandb')\n")
    return stub.parent


def options(chain: Chain, run: Path) -> list:
    small = ["--model.dim", 8, "--loader.folds", 2, "--max-steps", 1, "--baselines", "false", "--device", "cpu"]
    return ["--data", chain.data, "--run-dir", run, *small]


def test_disabled_does_without_it(chain: Chain, without_wandb: Path, tmp_path: Path):
    command = [*TRAIN, *options(chain, tmp_path / "run"), "--wandb.mode", "disabled"]
    succeed(command, path_before=without_wandb)
    assert (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "wandb").exists()


def test_missing_says_how_to_install_it_or_switch_it_off(chain: Chain, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    config = parse_train_config([str(word) for word in options(chain, tmp_path / "run")])
    with pytest.raises(UserError, match="pip install.*--wandb.mode disabled"):
        train(config, World())
