"""Biased MF against scikit-learn's ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from gnnrec.baselines import biased_mf
from gnnrec.baselines.biased_mf import Factors, fit_biased_mf, fit_factors, predict
from gnnrec.baselines.means import fit_biases
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import build_rank_graph
from tests.baselines.data import standardized_triples
from tests.distributed.ranks import run_on_ranks

DIM = 6
STRENGTH = 0.07


@pytest.fixture(scope="module")
def graph(small):
    return build_rank_graph(small, World(), dtype=torch.float64)


def sweeps(graph, count: int, monkeypatch) -> Factors:
    monkeypatch.setattr(biased_mf, "SWEEPS", count)
    return fit_factors(graph, DIM, STRENGTH, 1.0, 3)


def ridge(columns: np.ndarray, rating: np.ndarray) -> np.ndarray:
    fitted = Ridge(alpha=STRENGTH * max(len(rating), 1), fit_intercept=False, solver="cholesky")
    return fitted.fit(columns, rating).coef_


@pytest.mark.parametrize("block", [5, 8192])
def test_each_half_sweep_solves_a_ridge_regression(small, graph, monkeypatch, block):
    """Users of the second sweep from movies of the first, and movies of the first from its users."""
    monkeypatch.setattr(biased_mf, "_BLOCK", block)
    first, second = sweeps(graph, 1, monkeypatch), sweeps(graph, 2, monkeypatch)
    user, movie, rating = standardized_triples(small, TRAIN)
    centered = rating - rating.mean()
    # Columns: factors, the user's bias (or 1), 1 (or the movie's bias).
    ones = np.ones(len(rating))
    by_user = np.column_stack([first.movie[:, :DIM][movie], ones])
    residual = centered - first.movie[:, DIM + 1].numpy()[movie]
    for row in range(small.num_users):
        mine = user == row
        expected = ridge(by_user[mine], residual[mine])
        np.testing.assert_allclose(second.user[row, : DIM + 1], expected, rtol=1e-7, atol=1e-9)
    by_movie = np.column_stack([first.user[:, :DIM][user], ones])
    residual = centered - first.user[:, DIM].numpy()[user]
    rated = 0
    for row in range(small.num_movies):
        mine = movie == row
        solved = np.append(first.movie[row, :DIM], first.movie[row, DIM + 1])
        expected = ridge(by_movie[mine], residual[mine]) if mine.any() else np.zeros(DIM + 1)
        np.testing.assert_allclose(solved, expected, rtol=1e-7, atol=1e-9)
        rated += mine.any()
    assert rated > 20
    assert (second.user[:, DIM + 1] == 1).all() and (first.movie[:, DIM] == 1).all()


def test_the_penalized_error_falls_in_every_sweep(small, graph, monkeypatch):
    user, movie, rating = standardized_triples(small, TRAIN)

    def objective(factors: Factors) -> float:
        residual = rating - float(factors.mean) - (factors.user[user] * factors.movie[movie]).sum(1).numpy()
        user_square = factors.user[:, : DIM + 1].square().sum(1).numpy()
        movie_square = factors.movie.square().sum(1).numpy() - 1
        return np.square(residual).sum() + STRENGTH * (user_square[user] + movie_square[movie]).sum()

    objectives = [objective(sweeps(graph, count, monkeypatch)) for count in range(1, 8)]
    assert all(a > b for a, b in zip(objectives, objectives[1:]))


def test_predictions_of_many_targets_match_dense_ones():
    count = 300_000  # more than one block
    rng = np.random.default_rng(0)
    user, movie = torch.from_numpy(rng.normal(size=(2, DIM + 2))), torch.from_numpy(rng.normal(size=(9, DIM + 2)))
    pointer = torch.tensor([0, 100_000, count])
    chosen = torch.from_numpy(rng.integers(0, 9, count)).to(torch.int32)
    factors = Factors(user, movie, torch.tensor(3.0, dtype=torch.float64))
    predicted = predict(factors, Targets(pointer, chosen, torch.zeros(count), count))
    dense = 3 + user @ movie.T
    expected = torch.cat([dense[0][chosen[:100_000].long()], dense[1][chosen[100_000:].long()]])
    torch.testing.assert_close(predicted, expected)
    nothing = Targets(torch.tensor([0, 0, 0]), chosen[:0], torch.zeros(0), 1)
    assert predict(factors, nothing).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [{"strength": 0.05, "degree_power": 1.0}, {"l2": 0.5, "degree_power": 0.5}])
def test_factors_beat_biases_on_low_rank_ratings(low_rank, strength):
    metrics = fit_biased_mf(low_rank, World(), (TRAIN,), 0, {"dim": 8} | strength).metrics(TEST)
    assert metrics.rmse < 0.6 * fit_biases(low_rank, World(), (TRAIN,), 0, {}).metrics(TEST).rmse


def fits(world: World, directory: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    dataset = PreparedDataset(Path(directory))
    factors = fit_factors(build_rank_graph(dataset, world, dtype=torch.float64), DIM, STRENGTH, 1.0, 3)
    fitted = fit_biased_mf(dataset, world, (TRAIN,), 3, {"dim": DIM, "strength": STRENGTH, "degree_power": 1.0})
    return factors.user, factors.movie, fitted.metrics(TEST).rmse


@pytest.mark.slow
def test_three_ranks_fit_the_same_as_one(small):
    user, movie, rmse = fits(World(), str(small.directory))
    results = run_on_ranks(3, fits, str(small.directory))
    torch.testing.assert_close(torch.cat([part for part, _, _ in results]), user, rtol=1e-8, atol=1e-10)
    for _, every_movie, score in results:
        torch.testing.assert_close(every_movie, movie, rtol=1e-8, atol=1e-10)
        assert score == pytest.approx(rmse, rel=1e-4)
