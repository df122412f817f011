"""``configs/sweep.yaml``: what an agent of W&B makes of it is a command that this program takes.

The file was checked with W&B's own validator (``schema_violations_from_proposed_config`` of the package sweeps 0.3.0),
which cannot be installed beside NumPy 2.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from gnnrec.config.train_config import parse_train_config
from tests.end_to_end.commands import ROOT
from tests.end_to_end.conftest import Chain
from tests.end_to_end.test_documents import commands

SWEEP = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())


def draws() -> list[dict]:
    """For every parameter, each of its values or both of its bounds, with the first ones of the others."""
    every = {
        name: given.get("values") or [given["value"]] if "value" in given or "values" in given
        else [given["min"], given["max"]]
        for name, given in SWEEP["parameters"].items()
    }  # fmt: skip
    first = {name: values[0] for name, values in every.items()}
    return [first | {name: value} for name, values in every.items() for value in values]


def command_of(drawn: dict) -> list[str]:
    """As ``wandb.wandb_agent.Agent`` puts a command together."""
    from wandb.sdk.launch.sweeps import utils

    words = {"program": [SWEEP["program"]], "interpreter": ["python"], "env": ["/usr/bin/env"]}
    words |= utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in drawn.items()}})
    command = utils.create_sweep_command(list(SWEEP["command"]))
    return [word for part in command for word in (words[part[2:-1]] if part.startswith("${") else [part])]


@pytest.mark.slow
def test_every_parameter_is_an_option_and_every_value_is_taken():
    assert SWEEP["method"] in ("bayes", "random", "grid") and SWEEP["metric"]["goal"] == "minimize"
    for drawn in draws():
        config = parse_train_config(["--run-dir=x", *(f"--{name}={value}" for name, value in drawn.items())])
        for name, value in drawn.items():
            assert str(config.value(name)) == str(value)


def test_the_metric_is_one_that_runs_record(chain: Chain):
    assert f'"{SWEEP["metric"]["name"]}"' in (chain.run / "metrics.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [None, "3"])
def test_the_command_starts_training_in_a_directory_of_its_own(tmp_path: Path, ranks: str | None):
    torchrun = tmp_path / "torchrun"
    torchrun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    torchrun.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WANDB_SWEEP_ID": "swp", "WANDB_RUN_ID": "r7"}
    environment |= {"RANKS": ranks} if ranks else {}
    done = subprocess.run(command_of(draws()[0]), cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[: words.index("train_dist.py")] == ["--standalone", "--nproc-per-node", ranks or "1"]
    config = parse_train_config(words[words.index("train_dist.py") + 1 :])
    assert config.run_dir == Path("runs/swp/r7") and config.wandb.mode == "online"
    assert config.model.architecture == "sage" and config.data == Path("data/mine")
    assert ["gnnrec", "prepare", "data/mine"] in [words[:3] for words in commands(ROOT / "README.md")]
