"""Baselines in the summary of a run."""

from __future__ import annotations

import pytest

from gnnrec.baselines import svdpp
from gnnrec.baselines.rating import QUICK, RATING_BASELINES, fit_baselines
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.distributed.world import World


def test_baselines_are_registered_by_name():
    assert list(RATING_BASELINES) == ["global mean", "biases", "biased MF", "SVD++", "item AutoRec"]
    assert all(name == baseline.name and baseline.objective == "rating" for name, baseline in RATING_BASELINES.items())


@pytest.mark.slow
@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, VALIDATION)])
def test_the_summary_has_quick_baselines_with_the_best_setting_on_validation(low_rank, monkeypatch, splits):
    monkeypatch.setattr(svdpp, "EPOCHS", 4)
    rows = fit_baselines(low_rank, World(), splits, 0)
    assert list(rows) == [baseline.name for baseline in QUICK] == ["global mean", "biases", "biased MF (ALS)"]
    mf = QUICK[-1]
    scores = [mf.fit(low_rank, World(), (TRAIN,), 0, setting).metrics(VALIDATION).rmse for setting in mf.grid]
    best = mf.grid[scores.index(min(scores))]
    best = best | mf.fit(low_rank, World(), (TRAIN,), 0, best).chosen
    test = mf.fit(low_rank, World(), splits, 0, best).metrics(TEST)
    # Baselines know no time.
    expected = {f"test_{name}{kind}": getattr(test, name) for kind in ("", "_without_time") for name in ("rmse", "mae")}
    assert rows["biased MF (ALS)"] == pytest.approx(expected | best)
    assert rows["biased MF (ALS)"]["test_rmse"] < rows["biases"]["test_rmse"] < rows["global mean"]["test_rmse"]
