"""A number that is not finite changes no weight and no checkpoint: the run goes back and learns more slowly."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch

from benchmarks.poison import KINDS, poisoned, train_poisoned
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped, UserError
from gnnrec.training.checkpoint.info import DESCRIPTION, checkpoints, read_info
from gnnrec.training.run import train
from gnnrec.utils import files
from tests.distributed.ranks import run_on_ranks
from tests.training.runs import EPOCHS, FOLDS, STEPS, STOP, Script, config_of

pytestmark = pytest.mark.slow

EVERY = {"checkpoint": {"every_steps": 4}}


def records(run_dir) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def assert_sound(run_dir) -> None:
    """All checkpoints are finite, and no step is recorded twice."""
    found = [*checkpoints(run_dir, "step"), *checkpoints(run_dir, "best")]
    assert found
    for checkpoint in found:
        for path in checkpoint.glob("*.pt"):
            for name, tensor in torch.load(path, weights_only=True).items():
                assert torch.isfinite(tensor).all(), f"{path} {name}"
    steps = [record["step"] for record in records(run_dir) if "lr" in record]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ranks", "rank"), [(1, 0), (2, 0), (2, 1)])
def test_a_run_recovers_from_nan_on_any_rank(dataset, uninterrupted, tmp_path, kind, ranks, rank):
    config = config_of(dataset, tmp_path / "run", **EVERY)
    summary = run_on_ranks(ranks, train_poisoned, config, kind, 11, rank)[0]
    (back,) = summary["returns"]
    assert (back["to"], back["lr_scale"]) == (8, 0.5) and "finite" in back["problem"]
    assert summary["steps"] == STEPS and summary["epochs"] == EPOCHS
    assert_sound(config.run_dir)
    (noted,) = [record for record in records(config.run_dir) if "returns" in record]
    assert (noted["step"], noted["returns"], noted["lr_scale"]) == (8, 1, 0.5)
    undisturbed = json.loads((uninterrupted / "summary.json").read_text())
    assert abs(summary["test_rmse"] - undisturbed["test_rmse"]) < 0.05


def test_learning_rates_are_halved_from_the_return_on(dataset, uninterrupted, tmp_path):
    config = config_of(dataset, tmp_path / "run", **EVERY)
    train_poisoned(World(), config, "loss", 11, 0)
    before = {record["step"]: record["lr"] for record in records(uninterrupted) if "lr" in record}
    for record in records(config.run_dir):
        if "gradient_norm" in record:
            factor = 0.5 if record["step"] > 8 else 1.0
            assert record["lr"] == pytest.approx(factor * before[record["step"]])


def test_weights_that_are_not_finite_are_not_saved(dataset, tmp_path):
    """They become NaN in the step that is saved, so only the writer of the checkpoint can notice."""
    config = config_of(dataset, tmp_path / "run", **EVERY)
    summary = train_poisoned(World(), config, "row after", 12, 0)
    assert [back["to"] for back in summary["returns"]] == [8]
    assert_sound(config.run_dir)


def test_without_a_checkpoint_the_run_starts_again(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", validate_every=0)
    summary = train_poisoned(World(), config, "loss", 2, 0)
    assert [back["to"] for back in summary["returns"]] == [0] and summary["steps"] == STEPS
    assert_sound(config.run_dir)


def test_nan_in_the_last_step_is_noticed(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", **EVERY)
    summary = train_poisoned(World(), config, "row after", STEPS, 0)
    assert len(summary["returns"]) == 1 and summary["steps"] == STEPS
    assert_sound(config.run_dir)


def test_the_fourth_time_ends_the_run_in_one_line(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", **EVERY)
    with poisoned("loss", 11, times=100) as done, pytest.raises(UserError) as problem:
        train(config, World())
    assert len(done) == 4
    text = str(problem.value)
    assert text.startswith("training diverged: the loss or its gradient is not finite in step 11, after the run has")
    assert "3 times, to 0.125 of its learning rate" in text and "--optimizer.lr" in text and "\n" not in text
    assert_sound(config.run_dir)


def test_a_return_outlives_a_stop(dataset, tmp_path):
    config = config_of(dataset, tmp_path / "run", **EVERY)
    with poisoned("loss", 11), pytest.raises(Stopped):
        train(config, dataclasses.replace(World(), stop=Script({14: STOP})))
    summary = train(config, World())
    assert [(back["to"], back["lr_scale"]) for back in summary["returns"]] == [(8, 0.5)]
    assert_sound(config.run_dir)


def test_best_weights_from_after_the_return_still_count(dataset, tmp_path):
    """The epoch that ends with step 9 is validated and its weights are the best, then the run goes back to step 8."""
    config = config_of(dataset, tmp_path / "run", checkpoint={"every_steps": 8})
    with poisoned("loss", 11):
        train(config, World())
    (best,) = checkpoints(config.run_dir, "best")
    validated = [record for record in records(config.run_dir) if "validation_rmse" in record]
    assert [record["step"] for record in validated] == [FOLDS * epoch for epoch in range(1, EPOCHS + 1)]
    assert read_info(best).validation["rmse"] <= min(record["validation_rmse"] for record in validated) + 0.02


def test_checkpoints_with_nan_are_passed_over(dataset, uninterrupted, tmp_path):
    """Earlier versions wrote them."""
    run_dir = tmp_path / "run"
    shutil.copytree(uninterrupted, run_dir)
    (run_dir / "summary.json").unlink()
    newest = checkpoints(run_dir, "step")[0]
    info = read_info(newest)
    (name,) = [name for name in info.files if name.startswith("users-")]
    tensors = torch.load(newest / name, weights_only=True)
    tensors["bias"][3] = torch.nan
    torch.save(tensors, newest / name)
    info.files[name] = files.sha256(newest / name)
    (newest / DESCRIPTION).write_text(info.text())
    config = config_of(dataset, run_dir)
    with pytest.raises(UserError, match=r"bias has NaN or infinite values.*no older checkpoint is sound"):
        train(config, World())
