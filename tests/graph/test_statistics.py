"""Closed-form statistics against a dense computation; excluded edges influence no result."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.folds import Epoch
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.kernels import dispatch
from tests.datasets import write_dataset
from tests.graph.passes import SUPERVISED, supervising

SHRINKAGE, SWEEPS = 5.0, 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("statistics"))


@pytest.fixture(scope="module")
def graph(dataset):
    return build_rank_graph(dataset, World(), dtype=torch.float64)


def users_of(graph: RankGraph) -> np.ndarray:
    return np.repeat(np.arange(graph.num_users), graph.user_degree)


@pytest.fixture(params=["nothing", "a third", "all of one user", "all of one movie", "everything"])
def mask(request, graph) -> torch.Tensor | None:
    """Mask of excluded edges, by user."""
    if request.param == "nothing":
        return None
    if request.param == "a third":
        return torch.from_numpy(np.random.default_rng(3).random(graph.num_edges) < 1 / 3)
    if request.param == "all of one user":
        return torch.from_numpy(users_of(graph) == 5)
    return graph.movie == 2 if request.param == "all of one movie" else torch.ones(graph.num_edges, dtype=torch.bool)


def statistics_without(graph: RankGraph, mask: torch.Tensor | None, **options) -> MessageStatistics:
    if mask is None:
        return message_statistics(graph, **options)
    return message_statistics(graph, supervising(graph, mask), SUPERVISED, **options)


def dense(graph: RankGraph, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns ratings and weights, ``[users, movies]`` both."""
    rating = np.zeros((graph.num_users, graph.num_movies))
    weight = np.zeros_like(rating)
    user, movie = users_of(graph), graph.movie.numpy()
    rating[user, movie] = graph.rating
    weight[user, movie] = 1 if mask is None else ~mask
    return rating, weight


def test_statistics_equal_dense_computation(graph, mask):
    actual = statistics_without(graph, mask)
    rating, weight = dense(graph, mask)
    mean = np.sum(rating * weight) / max(np.sum(weight), 1)
    user_bias, movie_bias = np.zeros(graph.num_users), np.zeros(graph.num_movies)
    for _ in range(SWEEPS):
        movie_bias = np.sum((rating - mean - user_bias[:, None]) * weight, 0) / (weight.sum(0) + SHRINKAGE)
        user_bias = np.sum((rating - mean - movie_bias[None]) * weight, 1) / (weight.sum(1) + SHRINKAGE)
    assert actual.mean.item() == pytest.approx(mean, rel=1e-12)
    np.testing.assert_array_equal(actual.user_degree, weight.sum(1))
    np.testing.assert_array_equal(actual.movie_degree, weight.sum(0))
    np.testing.assert_allclose(actual.user_bias, user_bias, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(actual.movie_bias, movie_bias, rtol=1e-10, atol=1e-12)
    assert actual.weight == 1 and actual.temporal_bias is None

    user, movie = users_of(graph), graph.movie.numpy()
    carried = weight[user, movie] > 0
    left = rating - mean - user_bias[:, None] - movie_bias[None]
    edges = actual.edges
    np.testing.assert_allclose(edges.residual, left[user, movie][carried], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(edges.movie, movie[carried])
    np.testing.assert_array_equal(edges.level, graph.level[carried])
    np.testing.assert_array_equal(edges.pointer.diff(), weight.sum(1))
    np.testing.assert_array_equal(edges.target_movie, movie[~carried])
    np.testing.assert_array_equal(edges.target_rating, graph.rating[~carried])
    np.testing.assert_array_equal(edges.target_pointer.diff(), np.bincount(user[~carried], minlength=graph.num_users))
    assert actual.target_temporal_bias is None and edges.slot is None


def test_slots_number_the_edges_that_are_not_excluded(graph, mask):
    edges = statistics_without(graph, mask, slots=True).edges
    mask = torch.zeros(graph.num_edges, dtype=torch.bool) if mask is None else mask
    assert (edges.residual != 0).all()
    assert edges.slot[mask].tolist() == [-2 - target for target in range(int(mask.sum()))]
    assert edges.slot[~mask].tolist() == list(range(edges.movie.numel()))
    assert edges.movie.numel() + edges.target_movie.numel() == graph.num_edges


def everything(statistics: MessageStatistics) -> list[torch.Tensor]:
    """Returns all tensors except the ratings of targets."""
    parts = [statistics, statistics.edges, *([] if statistics.temporal_bias is None else [statistics.temporal_bias])]
    values = [(field.name, getattr(part, field.name)) for part in parts for field in dataclasses.fields(part)]
    return [value for name, value in values if isinstance(value, torch.Tensor) and name != "target_rating"]


@pytest.mark.parametrize("implementation", ["cpu", "reference"])
@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratings_of_excluded_edges_change_no_bit(dataset, dtype, time, implementation):
    graph = build_rank_graph(dataset, World(), dtype=dtype, time=time)
    mask = torch.from_numpy(np.random.default_rng(4).random(graph.num_edges) < 0.2)
    changed = dataclasses.replace(graph, rating=torch.where(mask, 123.456 - 7 * graph.rating, graph.rating))
    with dispatch.forced(implementation):
        before = everything(statistics_without(graph, mask, slots=True))
        after = everything(statistics_without(changed, mask, slots=True))
        seen = [message_statistics(g).user_bias for g in (graph, changed)]
    # Five statistics, four tensors of messages and their slots, two of targets, and temporal biases of targets.
    assert len(before) == 12 + time and before[0].dtype == dtype
    for a, b in zip(before, after):
        assert torch.equal(a, b)
    # Without exclusion the same change has an influence.
    assert not torch.equal(*seen)


def test_an_empty_fold_equals_no_fold(graph):
    nothing = torch.zeros(graph.num_edges, dtype=torch.bool)
    before = everything(message_statistics(graph))
    for epoch, fold in ((supervising(graph, nothing), SUPERVISED), (Epoch(graph, 3, 0, 4), -1)):
        for a, b in zip(before, everything(message_statistics(graph, epoch, fold)), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("time", [False, True])
def test_every_fold_of_an_epoch_is_excluded_in_its_own_pass(dataset, time):
    graph = build_rank_graph(dataset, World(), dtype=torch.float64, time=time)
    epoch = Epoch(graph, 3, 0, 4)
    for fold in range(4):
        actual = everything(message_statistics(graph, epoch, fold, slots=True))
        alone = statistics_without(graph, epoch.fold == fold, slots=True)
        for a, b in zip(actual, everything(alone), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
