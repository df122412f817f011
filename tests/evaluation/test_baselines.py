"""Baselines against dense sums and scikit-learn's ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed import World
from gnnrec.evaluation import baselines
from gnnrec.evaluation.baselines import MF_DIM, MF_GRID, Factors, fit_baselines, fit_biased_mf, predict
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import build_rank_graph
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

STRENGTH = 0.07


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("baselines"), shards=10)


@pytest.fixture(scope="module")
def graph(dataset):
    return build_rank_graph(dataset, World(), dtype=torch.float64)


@pytest.fixture(scope="module")
def low_rank(tmp_path_factory) -> PreparedDataset:
    """Ratings that two factors explain and biases do not."""
    directory = tmp_path_factory.mktemp("low_rank")
    rng = np.random.default_rng(0)
    user, movie = np.divmod(rng.permutation(150 * 60)[:5000], 60)
    taste = (rng.normal(size=(150, 2))[user] * rng.normal(size=(60, 2))[movie]).sum(1)
    rating = (5 + 0.4 * rng.normal(size=60)[movie] + taste + rng.normal(0, 0.2, 5000)).clip(0, 10).round(3)
    table = pd.DataFrame({"user": user, "movie": movie, "rating": rating})
    table.to_csv(directory / "ratings.csv", index=False)
    options = PrepareOptions(ratings=directory / "ratings.csv", rating_scale="0 10", validation=0.1)
    prepare(directory / "prepared", options)
    return PreparedDataset(directory / "prepared")


def triples(dataset: PreparedDataset, split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = np.array(dataset.split) == split
    return user[chosen], np.array(dataset.movie)[chosen], np.array(dataset.rating, np.float64)[chosen]


def errors(dataset: PreparedDataset, predicted: np.ndarray, split: int = TEST) -> dict[str, float]:
    scale = dataset.manifest.rating
    clipped = np.clip(predicted, scale["min"], scale["max"])
    rating = triples(dataset, split)[2]
    return {"test_rmse": root_mean_squared_error(rating, clipped), "test_mae": mean_absolute_error(rating, clipped)}


def test_global_mean_and_biases_equal_dense(dataset):
    found = fit_baselines(dataset, World(), (TRAIN,), 0)
    user, movie, rating = triples(dataset, TRAIN)
    test_user, test_movie, test_rating = triples(dataset, TEST)
    mean = rating.mean()
    assert found["global mean"] == pytest.approx(errors(dataset, np.full(len(test_rating), mean)), rel=1e-5)

    table, known = (np.zeros((dataset.num_users, dataset.num_movies)) for _ in range(2))
    table[user, movie], known[user, movie] = rating - mean, 1
    user_bias = np.zeros(dataset.num_users)
    for _ in range(2):
        movie_bias = ((table - user_bias[:, None]) * known).sum(0) / (known.sum(0) + 5)
        user_bias = ((table - movie_bias) * known).sum(1) / (known.sum(1) + 5)
    predicted = mean + user_bias[test_user] + movie_bias[test_movie]
    assert found["biases"] == pytest.approx(errors(dataset, predicted), rel=1e-5)


def sweeps(graph, count: int, monkeypatch) -> Factors:
    monkeypatch.setattr(baselines, "MF_SWEEPS", count)
    return fit_biased_mf(graph, STRENGTH, 3)


def ridge(columns: np.ndarray, rating: np.ndarray) -> np.ndarray:
    fitted = Ridge(alpha=STRENGTH * max(len(rating), 1), fit_intercept=False, solver="cholesky")
    return fitted.fit(columns, rating).coef_


@pytest.mark.parametrize("block", [5, 8192])
def test_each_half_sweep_solves_a_ridge_regression(dataset, graph, monkeypatch, block):
    """Users of the second sweep against movies of the first, and movies of the first against its users."""
    monkeypatch.setattr(baselines, "_BLOCK", block)
    first, second = sweeps(graph, 1, monkeypatch), sweeps(graph, 2, monkeypatch)
    user, movie, rating = triples(dataset, TRAIN)
    centred = rating - rating.mean()
    # Columns: factors, the user's bias (or 1), 1 (or the movie's bias).
    ones = np.ones(len(rating))
    by_user = np.column_stack([first.movie[:, :MF_DIM][movie], ones])
    left = centred - first.movie[:, MF_DIM + 1].numpy()[movie]
    for row in range(dataset.num_users):
        mine = user == row
        np.testing.assert_allclose(
            second.user[row, : MF_DIM + 1], ridge(by_user[mine], left[mine]), rtol=1e-7, atol=1e-9
        )
    by_movie = np.column_stack([first.user[:, :MF_DIM][user], ones])
    left = centred - first.user[:, MF_DIM].numpy()[user]
    rated = 0
    for row in range(dataset.num_movies):
        mine = movie == row
        found = np.append(first.movie[row, :MF_DIM], first.movie[row, MF_DIM + 1])
        expected = ridge(by_movie[mine], left[mine]) if mine.any() else np.zeros(MF_DIM + 1)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
        rated += mine.any()
    assert rated > 20
    assert (second.user[:, MF_DIM + 1] == 1).all() and (first.movie[:, MF_DIM] == 1).all()


def test_the_penalised_error_falls_in_every_sweep(dataset, graph, monkeypatch):
    user, movie, rating = triples(dataset, TRAIN)

    def objective(factors: Factors) -> float:
        left = rating - float(factors.mean) - (factors.user[user] * factors.movie[movie]).sum(1).numpy()
        weights_of_user = factors.user[:, : MF_DIM + 1].square().sum(1).numpy()
        weights_of_movie = factors.movie.square().sum(1).numpy() - 1
        return np.square(left).sum() + STRENGTH * (weights_of_user[user] + weights_of_movie[movie]).sum()

    found = [objective(sweeps(graph, count, monkeypatch)) for count in range(1, 8)]
    assert all(a > b for a, b in zip(found, found[1:]))


def test_predictions_of_many_targets():
    count = 300_000  # more than one block
    rng = np.random.default_rng(0)
    user, movie = torch.from_numpy(rng.normal(size=(2, MF_DIM + 2))), torch.from_numpy(rng.normal(size=(9, MF_DIM + 2)))
    pointer = torch.tensor([0, 100_000, count])
    chosen = torch.from_numpy(rng.integers(0, 9, count)).to(torch.int32)
    factors = Factors(user, movie, torch.tensor(3.0, dtype=torch.float64))
    found = predict(factors, Targets(pointer, chosen, torch.zeros(count), count))
    every = 3 + user @ movie.T
    expected = torch.cat([every[0][chosen[:100_000].long()], every[1][chosen[100_000:].long()]])
    torch.testing.assert_close(found, expected)
    nothing = Targets(torch.tensor([0, 0, 0]), chosen[:0], torch.zeros(0), 1)
    assert predict(factors, nothing).shape == (0,)


def test_the_strength_is_the_best_on_validation(low_rank):
    graph = build_rank_graph(low_rank, World())
    user, movie, _ = triples(low_rank, VALIDATION)
    scores = {}
    for strength in MF_GRID:
        factors = fit_biased_mf(graph, strength, 0)
        predicted = float(factors.mean) + (factors.user[user] * factors.movie[movie]).sum(1).numpy()
        scores[strength] = errors(low_rank, predicted, VALIDATION)["test_rmse"]
    best = min(scores, key=scores.get)
    found = fit_baselines(low_rank, World(), (TRAIN,), 0)
    assert found["biased MF"]["strength"] == best

    # Refitting keeps the strength that was chosen without validation ratings, and learns from more of them.
    refitted = fit_baselines(low_rank, World(), (TRAIN, VALIDATION), 0)
    assert refitted["biased MF"]["strength"] == best
    factors = fit_biased_mf(build_rank_graph(low_rank, World(), (TRAIN, VALIDATION)), best, 0)
    user, movie, _ = triples(low_rank, TEST)
    predicted = float(factors.mean) + (factors.user[user] * factors.movie[movie]).sum(1).numpy()
    expected = errors(low_rank, predicted) | {"strength": best}
    assert refitted["biased MF"] == pytest.approx(expected, rel=1e-4)
    assert refitted["biased MF"]["test_rmse"] != found["biased MF"]["test_rmse"]


def test_factors_find_what_biases_cannot(low_rank):
    found = fit_baselines(low_rank, World(), (TRAIN,), 0)
    assert found["biases"]["test_rmse"] < 0.99 * found["global mean"]["test_rmse"]
    assert found["biased MF"]["test_rmse"] < 0.6 * found["biases"]["test_rmse"]


def fits(world: World, directory: str) -> tuple[dict, torch.Tensor, torch.Tensor]:
    dataset = PreparedDataset(Path(directory))
    graph = build_rank_graph(dataset, world, dtype=torch.float64)
    factors = fit_biased_mf(graph, STRENGTH, 3)
    return fit_baselines(dataset, world, (TRAIN,), 0), factors.user, factors.movie


def test_three_ranks_fit_what_one_rank_fits(dataset):
    expected, user, movie = fits(World(), str(dataset.directory))
    found = run_on_ranks(3, fits, str(dataset.directory))
    torch.testing.assert_close(torch.cat([part for _, part, _ in found]), user, rtol=1e-8, atol=1e-10)
    for scores, _, every_movie in found:
        torch.testing.assert_close(every_movie, movie, rtol=1e-8, atol=1e-10)
        assert scores.keys() == expected.keys()
        for name, row in expected.items():
            assert scores[name] == pytest.approx(row, rel=1e-4)
