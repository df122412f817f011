"""The search on validation, with baselines that only record their calls."""

from __future__ import annotations

import math

import pytest

from gnnrec.baselines.baseline import Baseline, Fitted, fit_best
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.rating import RatingMetrics
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

LOSSES = {"a": 0.3, "b": 0.2, "c": math.nan}


class Recorder:
    """A baseline whose validation loss is a function of its setting, and the calls it received."""

    def __init__(self, grid=tuple({"size": size} for size in LOSSES), losses=LOSSES):
        self.fits, self.scored, self.losses = [], [], losses
        self.baseline = Baseline("recorder", "rating", grid, self.fit)

    def fit(self, dataset, world, splits, seed, setting):
        self.fits.append((splits, seed, setting))

        def metrics(split):
            self.scored.append(split)
            return RatingMetrics(
                0.0, 0.0, rmse_without_time=self.losses[setting.get("size", "a")], mae_without_time=0.0, count=1
            )

        return Fitted(metrics, {} if "epochs" in setting or not setting else {"epochs": 7})


def test_the_lowest_validation_loss_wins(small):
    recorder = Recorder()
    chosen = fit_best(recorder.baseline, small, World(), (TRAIN,), 5)
    assert (chosen.setting, chosen.validation_loss) == ({"size": "b", "epochs": 7}, 0.2)
    assert recorder.fits == [((TRAIN,), 5, {"size": size}) for size in LOSSES]
    assert set(recorder.scored) == {VALIDATION}
    assert chosen.fitted.metrics(TEST).loss == 0.2


def test_refitting_chooses_without_validation_ratings(small):
    recorder = Recorder()
    chosen = fit_best(recorder.baseline, small, World(), (TRAIN, VALIDATION), 5)
    assert [splits for splits, _, _ in recorder.fits] == [(TRAIN,)] * 3 + [(TRAIN, VALIDATION)]
    assert recorder.fits[-1][2] == chosen.setting == {"size": "b", "epochs": 7}
    assert chosen.validation_loss == 0.2
    assert set(recorder.scored) == {VALIDATION}


@pytest.mark.parametrize(("splits", "loss"), [((TRAIN,), 0.3), ((TRAIN, VALIDATION), None)])
def test_a_baseline_without_settings_is_fitted_once(small, splits, loss):
    recorder = Recorder(grid=({},))
    chosen = fit_best(recorder.baseline, small, World(), splits, 0)
    assert (chosen.setting, chosen.validation_loss) == ({}, loss)
    assert recorder.fits == [(splits, 0, {})]


def test_without_validation_ratings_the_first_setting_is_used(tmp_path):
    recorder = Recorder()
    dataset = write_dataset(tmp_path, validation=0.0)
    chosen = fit_best(recorder.baseline, dataset, World(), (TRAIN,), 0)
    assert (chosen.setting, chosen.validation_loss, len(recorder.fits)) == ({"size": "a"}, None, 1)


def test_no_finite_loss_is_one_clear_line(small):
    recorder = Recorder(losses=dict.fromkeys(LOSSES, math.nan))
    with pytest.raises(UserError, match="recorder: no setting of its grid gives a finite error"):
        fit_best(recorder.baseline, small, World(), (TRAIN,), 0)


def chosen_on(world: World, directory) -> dict:
    # Ranks with different losses must not choose differently: all use the choice of rank 0.
    losses = {"a": 0.1 * world.rank, "b": 0.05, "c": 0.3}
    return fit_best(Recorder(losses=losses).baseline, PreparedDataset(directory), world, (TRAIN,), 0).setting


@pytest.mark.slow
def test_all_ranks_choose_the_same_setting(small):
    assert run_on_ranks(2, chosen_on, small.directory) == [{"size": "a", "epochs": 7}] * 2
