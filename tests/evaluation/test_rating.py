"""RMSE and MAE against scikit-learn, on one rank and on several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from gnnrec.data.prepared import TEST, VALIDATION, PreparedDataset
from gnnrec.data.rating_unit import RatingUnit
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import RatingMetrics, held_out, rating_metrics
from gnnrec.graph.partition import partition
from tests.datasets import standardized, write_dataset
from tests.distributed.ranks import run_on_ranks

SCALE = 0.5, 5.0
#: The unit of ratings that are not standardized.
UNIT = RatingUnit(0.0, 1.0, SCALE)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("rating"), shards=6)


def predictions_and_ratings(count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions, many of them outside the scale, and ratings."""
    rng = np.random.default_rng(count)
    predicted = torch.from_numpy(rng.normal(3, 3, count)).to(dtype)
    return predicted, torch.from_numpy(rng.integers(1, 11, count) / 2).to(dtype)


def assert_metrics(metrics: RatingMetrics, predicted: torch.Tensor, rating: torch.Tensor, scale=SCALE) -> None:
    clipped, rating = np.clip(predicted.double().numpy(), *scale), rating.double().numpy()
    assert metrics.rmse == pytest.approx(root_mean_squared_error(rating, clipped), rel=1e-12)
    assert metrics.mae == pytest.approx(mean_absolute_error(rating, clipped), rel=1e-12)
    assert (metrics.rmse_without_time, metrics.mae_without_time) == (metrics.rmse, metrics.mae)
    assert metrics.count == len(rating)


@pytest.mark.parametrize("count", [1, 2, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_metrics_match_scikit_learn_on_clipped_predictions(count, dtype):
    predicted, rating = predictions_and_ratings(count, dtype)
    assert_metrics(rating_metrics(predicted, rating, UNIT, World()), predicted, rating)


def test_metrics_are_in_the_unit_of_the_dataset():
    predicted, rating = predictions_and_ratings(1000, torch.float64)
    without_time, unit = predicted + 0.3, RatingUnit(3.0, 0.5, SCALE)
    metrics = rating_metrics((predicted - 3) / 0.5, (rating - 3) / 0.5, unit, World(), (without_time - 3) / 0.5)
    rating, clipped, without = rating.numpy(), predicted.clamp(*SCALE).numpy(), without_time.clamp(*SCALE).numpy()
    assert metrics.rmse == pytest.approx(root_mean_squared_error(rating, clipped), rel=1e-9)
    assert metrics.mae == pytest.approx(mean_absolute_error(rating, clipped), rel=1e-9)
    assert metrics.rmse_without_time == pytest.approx(root_mean_squared_error(rating, without), rel=1e-9)
    assert metrics.mae_without_time == pytest.approx(mean_absolute_error(rating, without), rel=1e-9)
    assert metrics.loss == metrics.rmse_without_time != metrics.rmse
    assert metrics.headline == f"RMSE {metrics.rmse_without_time:.4f} without time ({metrics.rmse:.4f} with)"
    same = rating_metrics((predicted - 3) / 0.5, (torch.from_numpy(rating) - 3) / 0.5, unit, World())
    assert same.headline == f"RMSE {metrics.rmse:.4f}"


def test_predictions_are_clipped_to_the_rating_scale():
    predicted, rating = predictions_and_ratings(1000)
    narrow, wide = (
        rating_metrics(predicted, rating, RatingUnit(0.0, 1.0, scale), World())
        for scale in ((2.0, 4.0), (-100.0, 100.0))
    )
    assert_metrics(narrow, predicted, rating, (2.0, 4.0))
    assert_metrics(wide, predicted, rating, (-100.0, 100.0))
    assert narrow.rmse < wide.rmse


def test_small_errors_of_many_ratings_are_not_lost_in_float32():
    rating = torch.full((3_000_000,), 3.0)
    metrics = rating_metrics(rating + 1e-3, rating, UNIT, World())
    assert metrics.rmse == pytest.approx(1e-3, rel=2e-4) and metrics.mae == pytest.approx(1e-3, rel=2e-4)


def test_metrics_without_ratings_are_none():
    metrics = rating_metrics(torch.zeros(0), torch.zeros(0), UNIT, World())
    assert metrics.rmse is None and metrics.mae is None and metrics.count == 0


@pytest.mark.parametrize("split", [VALIDATION, TEST])
def test_held_out_ratings_are_those_of_the_split(dataset, split):
    targets = held_out(dataset, partition(dataset.manifest.shards, 0, 1), split, World(), torch.float64)
    chosen = np.array(dataset.split) == split
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    assert targets.count == chosen.sum() > 10
    np.testing.assert_array_equal(np.repeat(np.arange(dataset.num_users), targets.pointer.diff()), user[chosen])
    np.testing.assert_array_equal(targets.movie, dataset.movie[chosen])
    np.testing.assert_array_equal(targets.rating, standardized(dataset)[chosen])
    assert targets.rating.dtype == torch.float64


def on_ranks(world: World, directory: str) -> tuple[RatingMetrics, RatingMetrics, torch.Tensor, int]:
    """Metrics of ratings of which rank 1 has none, metrics without ratings, and this rank's held-out ratings."""
    predicted, rating = predictions_and_ratings(100)
    mine = {0: slice(0, 63), 1: slice(63, 63), 2: slice(63, 100)}[world.rank]
    dataset = PreparedDataset(Path(directory))
    part = partition(dataset.manifest.shards, world.rank, world.size)
    targets = held_out(dataset, part, TEST, world, torch.float32)
    uneven = rating_metrics(predicted[mine], rating[mine], UNIT, world)
    nothing = rating_metrics(torch.zeros(0), torch.zeros(0), UNIT, world)
    return uneven, nothing, targets.rating, targets.count


@pytest.mark.slow
def test_ranks_agree_even_if_one_has_no_ratings(dataset):
    results = run_on_ranks(3, on_ranks, str(dataset.directory))
    predicted, rating = predictions_and_ratings(100)
    expected = standardized(dataset)[np.array(dataset.split) == TEST].astype(np.float32)
    for uneven, nothing, _, count in results:
        assert_metrics(uneven, predicted, rating)
        assert uneven == results[0][0]
        assert nothing.count == 0 and nothing.rmse is None
        assert count == len(expected)
    np.testing.assert_array_equal(torch.cat([ratings for _, _, ratings, _ in results]), expected)
