"""The best checkpoint is the newest whose validation error is not clearly above the lowest, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import squared_error_by_user
from gnnrec.graph.batch import Targets
from gnnrec.training import rating_validation
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.run import train
from gnnrec.training.standard_error import exceeds_standard_error
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks


def clearly_better(gain: np.ndarray) -> bool:
    return bool(gain.mean() > stats.sem(gain))


def gains() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [mean + rng.normal(size=count) for mean in (-0.2, 0.0, 0.2, 0.5, 1.0) for count in (2, 9, 80)]


def on_rank(world: World) -> list[bool]:
    return [exceeds_standard_error(torch.from_numpy(gain).tensor_split(3)[world.rank], world) for gain in gains()]


def test_a_gain_is_compared_with_its_standard_error():
    found = [exceeds_standard_error(torch.from_numpy(gain), World()) for gain in gains()]
    assert found == [clearly_better(gain) for gain in gains()]
    assert 2 < sum(found) < len(found) - 2
    assert not exceeds_standard_error(torch.ones(1), World()) and not exceeds_standard_error(torch.ones(0), World())
    assert exceeds_standard_error(torch.tensor([0.0, float("nan"), 0.0]), World())  # NaN never becomes the best
    assert not exceeds_standard_error(torch.zeros(5), World()) and exceeds_standard_error(torch.ones(5), World())


@pytest.mark.slow
def test_ranks_agree():
    assert run_on_ranks(3, on_rank) == [[clearly_better(gain) for gain in gains()]] * 3


def test_errors_are_those_of_clipped_predictions_by_user():
    unit = RatingUnit(mean=3.0, std=2.0, scale=(1.0, 5.0))
    targets = Targets(torch.tensor([0, 2, 2, 3]), torch.tensor([0, 1, 0]), torch.tensor([1.0, -1.0, 0.5]), 3)
    found = squared_error_by_user(torch.tensor([4.0, -0.5, 0.0]), targets, unit)
    assert found.tolist() == [0.25, 0.0, 0.25]


@pytest.fixture
def errors_of_epochs(monkeypatch) -> list[np.ndarray]:
    """Squared errors by user of each validation."""
    epochs: list[np.ndarray] = []

    def recorded(*arguments) -> torch.Tensor:
        errors = squared_error_by_user(*arguments)
        epochs.append(errors.numpy())
        return errors

    monkeypatch.setattr(rating_validation, "squared_error_by_user", recorded)
    return epochs


@pytest.mark.slow
def test_the_newest_epoch_that_is_not_clearly_worse_is_kept(tmp_path, errors_of_epochs):
    kinds = set()
    for seed in range(5):
        dataset = write_dataset(tmp_path / f"data{seed}", 60, 40, 700, seed=seed, validation=0.2)
        config = make_config(
            dataset.directory,
            tmp_path / f"run{seed}",
            regularization={"ids": 0.0, "messages": 0.0, "biases": 0.0},
            optimizer={"epochs": 8, "lr": 0.05, "schedule": "constant"},
        )
        errors_of_epochs.clear()
        summary = train(config, World())
        assert len(errors_of_epochs) == 8
        lowest = int(np.argmin([errors.sum() for errors in errors_of_epochs]))
        worse = [clearly_better(errors - errors_of_epochs[lowest]) for errors in errors_of_epochs]
        newest = max(epoch for epoch in range(lowest, 8) if not worse[epoch])
        assert summary["best_epoch"] == newest + 1
        assert read_info(find_checkpoint(config.run_dir, "best")).epoch == newest + 1
        kinds.add((newest > lowest, newest < 7))
    assert {later for later, _ in kinds} == {before_the_last for _, before_the_last in kinds} == {True, False}
