"""Test ratings affect no choice: other test ratings give the same settings and bit for bit the same predictions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.baselines import autorec, scoring, svdpp
from gnnrec.baselines.baseline import fit_best
from gnnrec.baselines.rating import RATING_BASELINES
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from tests.datasets import changed_copy


@pytest.fixture(scope="module")
def other(small, tmp_path_factory) -> PreparedDataset:
    """The same dataset with every test rating reversed on the scale."""
    rating, test = np.array(small.rating), np.array(small.split) == TEST
    rating[test] = small.manifest.rating["min"] + small.manifest.rating["max"] - rating[test]
    return changed_copy(small, tmp_path_factory.mktemp("other") / "prepared", rating=rating)


@pytest.mark.slow
@pytest.mark.parametrize("splits", [(TRAIN,), (TRAIN, VALIDATION)])
@pytest.mark.parametrize("name", RATING_BASELINES)
def test_other_test_ratings_change_only_the_test_score(small, other, monkeypatch, name, splits):
    grid = RATING_BASELINES[name].grid
    baseline = dataclasses.replace(RATING_BASELINES[name], grid=grid[:2] + grid[-1:] if len(grid) > 1 else grid)
    for module in (svdpp, autorec):
        monkeypatch.setattr(module, "EPOCHS", 4)
    predictions, metrics = [], scoring.rating_metrics

    def recording(predicted, *arguments):
        predictions.append(predicted.clone())
        return metrics(predicted, *arguments)

    monkeypatch.setattr(scoring, "rating_metrics", recording)
    first, second = (fit_best(baseline, dataset, World(), splits, 0) for dataset in (small, other))
    predictions.clear()
    scores = [chosen.fitted.metrics(TEST).rmse for chosen in (first, second)]
    assert (first.setting, first.validation_loss) == (second.setting, second.validation_loss)
    assert torch.equal(*predictions) and predictions[0].numel() > 20
    assert scores[0] != scores[1]
