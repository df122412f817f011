"""Closed-form statistics against a dense computation, and excluded edges that leave no trace."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.distributed import World
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from tests.datasets import write_dataset

SHRINKAGE, SWEEPS = 5.0, 2


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return build_rank_graph(write_dataset(tmp_path_factory.mktemp("statistics")), World(), dtype=torch.float64)


def users_of(graph: RankGraph) -> np.ndarray:
    return np.repeat(np.arange(graph.num_users), graph.user_degree)


@pytest.fixture(params=["nothing", "a third", "all of one user", "all of one movie", "everything"])
def mask(request, graph) -> torch.Tensor | None:
    """Excluded edges by user."""
    if request.param == "nothing":
        return None
    if request.param == "a third":
        return torch.from_numpy(np.random.default_rng(3).random(graph.num_edges) < 1 / 3)
    if request.param == "all of one user":
        return torch.from_numpy(users_of(graph) == 5)
    return graph.movie == 2 if request.param == "all of one movie" else torch.ones(graph.num_edges, dtype=torch.bool)


def both_orders(graph: RankGraph, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor] | None:
    return None if mask is None else (mask, mask[graph.order])


def dense(graph: RankGraph, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Ratings and weights, users x movies."""
    rating = np.zeros((graph.num_users, graph.num_movies))
    weight = np.zeros_like(rating)
    user, movie = users_of(graph), graph.movie.numpy()
    rating[user, movie] = graph.rating
    weight[user, movie] = 1 if mask is None else ~mask
    return rating, weight


def test_equals_dense(graph, mask):
    found = message_statistics(graph, both_orders(graph, mask))
    rating, weight = dense(graph, mask)
    mean = np.sum(rating * weight) / max(np.sum(weight), 1)
    user_bias, movie_bias = np.zeros(graph.num_users), np.zeros(graph.num_movies)
    for _ in range(SWEEPS):
        movie_bias = np.sum((rating - mean - user_bias[:, None]) * weight, 0) / (weight.sum(0) + SHRINKAGE)
        user_bias = np.sum((rating - mean - movie_bias[None]) * weight, 1) / (weight.sum(1) + SHRINKAGE)
    assert found.mean.item() == pytest.approx(mean, rel=1e-12)
    np.testing.assert_array_equal(found.user_degree, weight.sum(1))
    np.testing.assert_array_equal(found.movie_degree, weight.sum(0))
    np.testing.assert_allclose(found.user_bias, user_bias, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.movie_bias, movie_bias, rtol=1e-10, atol=1e-12)

    user, movie = users_of(graph), graph.movie.numpy()
    left = (rating - mean - user_bias[:, None] - movie_bias[None]) * weight
    np.testing.assert_allclose(found.residual, left[user, movie], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.weight, weight[user, movie])
    np.testing.assert_array_equal(found.weight_by_movie, weight[user, movie][graph.order])


def test_residuals_of_excluded_edges_are_exactly_zero(graph, mask):
    mask = torch.zeros(graph.num_edges, dtype=torch.bool) if mask is None else mask
    residual = message_statistics(graph, both_orders(graph, mask)).residual
    assert (residual[mask] == 0).all() and (residual[~mask] != 0).all()


def everything(statistics: MessageStatistics) -> list[torch.Tensor]:
    return [getattr(statistics, field.name) for field in dataclasses.fields(statistics) if field.name != "drift"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratings_of_excluded_edges_change_no_bit(graph, dtype):
    mask = torch.from_numpy(np.random.default_rng(4).random(graph.num_edges) < 0.2)
    graph = dataclasses.replace(graph, rating=graph.rating.to(dtype))
    changed = dataclasses.replace(graph, rating=torch.where(mask, 123.456 - 7 * graph.rating, graph.rating).to(dtype))
    excluded = both_orders(graph, mask)
    before = everything(message_statistics(graph, excluded))
    after = everything(message_statistics(changed, excluded))
    assert len(before) == 8 and before[0].dtype == dtype
    for a, b in zip(before, after):
        assert torch.equal(a, b)
    # The same change is seen where nothing is excluded.
    assert not torch.equal(message_statistics(graph).user_bias, message_statistics(changed).user_bias)


def test_nothing_excluded_is_no_mask_at_all(graph):
    nothing = torch.zeros(graph.num_edges, dtype=torch.bool)
    before = everything(message_statistics(graph))
    for a, b in zip(before, everything(message_statistics(graph, (nothing, nothing)))):
        assert torch.equal(a, b)
