"""Weights & Biases at the end of the chain: what an export is made from; and nothing needs it when it is off.

What training records is in ``tests/training/tracking/test_tracker.py``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.run import train
from tests.end_to_end.commands import ROOT, TRAIN, succeed
from tests.end_to_end.conftest import Chain
from tests.end_to_end.wandb_file import history, of_kind, offline_runs, wandb_records


@pytest.fixture
def without_wandb(tmp_path: Path) -> Path:
    """A directory that, first in Python's path, makes wandb look as if it were not installed."""
    stub = tmp_path / "without_wandb" / "wandb.py"
    stub.parent.mkdir()
    stub.write_text("raise ModuleNotFoundError(\"No module named 'wandb'\", name='wandb')\n")
    return stub.parent


def options(chain: Chain, run: Path) -> list[str]:
    small = ["--model.dim", 8, "--loader.folds", 2, "--max-steps", 1, "--baselines", "false", "--device", "cpu"]
    return [str(word) for word in ["--data", chain.data, "--run-dir", run, *small]]


def test_disabled_does_without_it(chain: Chain, without_wandb: Path, tmp_path: Path):
    command = [*TRAIN, *options(chain, tmp_path / "run"), "--wandb.mode", "disabled"]
    succeed(command, path_before=without_wandb)
    assert (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "wandb").exists()


def test_missing_says_how_to_install_it_or_switch_it_off(chain: Chain, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install.*--wandb.mode disabled"):
        train(parse_train_config(options(chain, tmp_path / "run")), World())


def test_two_ranks_leave_one_run_with_all_records(chain: Chain):
    records = [json.loads(line) for line in (chain.run / "metrics.jsonl").read_text().splitlines()]
    (run,) = [path for path in offline_runs(chain.run) if "train" in {each.job_type for each in runs_of(path)}]
    rows = history(wandb_records(run))
    assert rows == [{name: value for name, value in record.items() if name != "time"} for record in records]


def runs_of(directory: Path) -> list:
    return of_kind(wandb_records(directory), "run")


def test_an_export_is_made_from_the_model_of_its_run(chain: Chain, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    (training,) = offline_runs(chain.run)
    run_command(["export", str(chain.run), "--out", str(tmp_path / "out"), "--device", "cpu", "--wandb"])
    (exporting,) = set(offline_runs(chain.run)) - {training}
    (run,) = runs_of(exporting)
    assert run.job_type == "export" and run.run_id != runs_of(training)[0].run_id
    used, made = of_kind(wandb_records(exporting), "artifact")
    model = [each for each in of_kind(wandb_records(training), "artifact") if each.type == "model"]
    assert used.use_after_commit and not made.use_after_commit and made.type == "export"
    assert [(each.name, each.digest) for each in model] == [(used.name, used.digest)], "the very same version"
    facts = json.loads(made.metadata)
    assert facts["model_fingerprint"] == chain.summary["model_fingerprint"] and facts["users"] == 120
    assert [entry.path for entry in made.manifest.contents if not entry.ref] == ["manifest.json"]


def test_every_field_is_documented(chain: Chain):
    text = (ROOT / "docs" / "tracking.md").read_text()
    documented = set(re.findall(r"`([\w.@/]+)`", text))
    records = [json.loads(line) for line in (chain.run / "metrics.jsonl").read_text().splitlines()]
    assert {name for record in records for name in record} <= documented
    assert set(chain.summary) | set(chain.summary["seconds"]) | set(chain.summary["partition"]) <= documented
