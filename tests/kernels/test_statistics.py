"""Statistics of edges, compiled and in plain torch, against plain loops over pairs of ratings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels import statistics as kernels
from gnnrec.kernels.edges import Edges, Residuals
from tests.kernels.rating_examples import (
    FOLDS,
    LATEST,
    LEVELS,
    MOVIES,
    WINDOWS,
    as_tensors,
    assert_near,
    pointer_of,
    shared_bins,
    some_edges,
)

USERS, EVERY = some_edges()
EXCLUDED = pytest.mark.parametrize("excluded", [-1, 2])


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request, several_threads):
    with dispatch.forced(request.param):
        yield


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def edges(dtype) -> Edges:
    return as_tensors(USERS, dtype)


def random_biases(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws mean plus bias of users, and biases of movies."""
    random = np.random.default_rng(5)
    user, movie = 3.4 + random.normal(0, 0.4, len(USERS)), random.normal(0, 0.4, MOVIES)
    return torch.from_numpy(user).to(dtype), torch.from_numpy(movie).to(dtype)


def test_fold_sums_equal_plain_loops(edges):
    user_count, user_sum, movie_count, movie_sum = kernels.fold_sums(edges, FOLDS + 1)
    assert (user_count.dtype, movie_count.dtype) == (torch.int32, torch.int32)
    assert (user_sum.dtype, movie_sum.dtype) == (torch.float64, torch.float64)
    for fold in range(FOLDS + 1):
        for user in range(len(USERS)):
            rated = [edge.rating for edge in EVERY if (edge.user, edge.fold) == (user, fold)]
            assert (user_count[fold, user], user_sum[fold, user]) == (len(rated), sum(rated))
        for movie in range(MOVIES):
            rated = [edge.rating for edge in EVERY if (edge.movie, edge.fold) == (movie, fold)]
            assert (movie_count[movie, fold], movie_sum[movie, fold]) == (len(rated), sum(rated))


def test_half_width_bins_equal_plain_loops(edges):
    time = torch.tensor([edge.time for edge in EVERY], dtype=torch.int32)
    year, steps_of_edges = kernels.time_bins(edges.pointer, time, WINDOWS)
    for place, edge in enumerate(EVERY):
        assert year[place] == edge.time // WINDOWS.movie_half_width
        steps = 0
        for window, half in enumerate(WINDOWS.user_half_widths):
            mine = [other.time // half for other in USERS[edge.user]]
            here, position = edge.time // half, next(n for n, e in enumerate(USERS[edge.user]) if e is edge)
            first = position == 0 or mine[position - 1] != here
            steps |= (first + 2 * (here - 1 in mine)) << (2 * window)
        assert steps_of_edges[place] == steps
    assert len(steps_of_edges.unique()) > 6


def residuals_of(edges: Edges, excluded: int, dtype: torch.dtype, **options) -> Residuals:
    user_base, movie_bias = random_biases(dtype)
    targets = torch.tensor([sum(edge.fold == excluded for edge in rated) for rated in USERS], dtype=torch.int32)
    options = {"group": None, "kept": None, "scale": 1.0} | options
    return kernels.residuals(edges, excluded, targets, None, user_base, movie_bias, **options)


@EXCLUDED
@pytest.mark.parametrize("dropped", [True, False])
def test_residuals_equal_plain_loops(edges, dtype, excluded, dropped):
    options = {}
    sent = [edge.fold != excluded for edge in EVERY]
    if dropped:
        group = torch.from_numpy(np.random.default_rng(7).integers(0, 8, len(EVERY))).to(torch.uint8)
        kept = torch.tensor([True, False, True, True, False, True, True, True])
        sent = [carried and bool(kept[int(g)]) for carried, g in zip(sent, group)]
        options = {"group": group, "kept": kept, "scale": 4 / 3}
    actual = residuals_of(edges, excluded, dtype, slots=True, **options)
    user_base, movie_bias = (biases.tolist() for biases in random_biases(dtype))
    message = [edge.rating - user_base[edge.user] - movie_bias[edge.movie] for edge in EVERY]

    carried = [place for place, flag in enumerate(sent) if flag]
    assert actual.movie.tolist() == [EVERY[place].movie for place in carried]
    assert actual.level.tolist() == [EVERY[place].level for place in carried]
    assert actual.pointer.diff().tolist() == [sum(EVERY[p].user == user for p in carried) for user in range(len(USERS))]
    assert_near(actual.residual, [message[place] * options.get("scale", 1.0) for place in carried], dtype)
    slots = [-1] * len(EVERY)
    for slot, place in enumerate(carried):
        slots[place] = slot
    targets = [place for place, edge in enumerate(EVERY) if edge.fold == excluded]
    for target, place in enumerate(targets):
        slots[place] = -2 - target
    assert actual.slot.tolist() == slots and actual.slot.dtype == torch.int32

    assert actual.target_movie.tolist() == [EVERY[place].movie for place in targets]
    assert actual.target_rating.tolist() == [EVERY[place].rating for place in targets]
    per_user = [sum(edge.fold == excluded for edge in rated) for rated in USERS]
    assert actual.target_pointer.diff().tolist() == per_user


def test_slots_are_computed_on_request_only(edges, dtype):
    assert residuals_of(edges, 2, dtype).slot is None


@pytest.mark.parametrize("to_users", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
def test_level_sums_equal_plain_loops(edges, dtype, to_users, scaled):
    senders, receivers = (MOVIES, len(USERS)) if to_users else (len(USERS), MOVIES)
    scale = torch.from_numpy(np.random.default_rng(8).uniform(0.5, 2, senders)).to(dtype) if scaled else None
    actual = kernels.level_sums(edges.pointer, edges.movie, edges.level, (receivers, LEVELS), scale, to_users, dtype)
    expected = np.zeros((receivers, LEVELS))
    for edge in EVERY:
        receiver, sender = (edge.user, edge.movie) if to_users else (edge.movie, edge.user)
        expected[receiver, edge.level] += float(scale[sender]) if scaled else 1.0
    assert_near(actual, expected, dtype)


@pytest.mark.parametrize("half", [3, 20])
def test_window_sums_equal_plain_loops(dtype, half):
    random = np.random.default_rng(9)
    left = torch.from_numpy(random.normal(size=len(EVERY))).to(dtype)
    asked = [sorted(random.integers(-60, LATEST + 60, 5 * (user % 3)).tolist()) for user in range(len(USERS))]
    # At the times of ratings, just before and just after, in random order.
    asked = [
        random.permutation(times + [edge.time + int(random.integers(-2, 3)) for edge in rated]).astype(int).tolist()
        for times, rated in zip(asked, USERS)
    ]
    expected = []
    for rated, times in zip(USERS, asked):
        for moment in times:
            shared = [shared_bins(moment, edge.time, half) for edge in rated]
            mine = [value for edge, value in zip(EVERY, left.tolist()) if rated and edge.user == rated[0].user]
            expected.append([sum(s * value for s, value in zip(shared, mine)), sum(shared)])
    time = torch.tensor([edge.time for edge in EVERY], dtype=torch.int32)
    moments = torch.tensor([moment for times in asked for moment in times], dtype=torch.int32)
    actual = kernels.window_sums(pointer_of(USERS), time, left, half, pointer_of(asked), moments)
    assert_near(actual, expected, dtype)
    assert (actual[:, 1] == 0).any() and (actual[:, 1] > 2).any()


def test_times_far_from_all_ratings_have_empty_bins(dtype):
    time = torch.tensor([edge.time for edge in EVERY], dtype=torch.int32)
    far = torch.tensor([2**31 - 2, -(2**31) + 2] * len(USERS), dtype=torch.int32)
    pointer = 2 * torch.arange(len(USERS) + 1)
    actual = kernels.window_sums(pointer_of(USERS), time, torch.ones(len(time), dtype=dtype), 43_200, pointer, far)
    assert torch.equal(actual, torch.zeros(len(far), 2, dtype=dtype))


def test_statistics_of_no_ratings_are_zero(dtype):
    empty = as_tensors([[], [], []], dtype)
    assert all((tensor == 0).all() for tensor in kernels.fold_sums(empty, 2))
    zeros, movies = torch.zeros(3, dtype=dtype), torch.ones(MOVIES, dtype=dtype)
    actual = kernels.residuals(empty, 0, torch.zeros(3, dtype=torch.int32), None, zeros, movies, None, None, 1.0, True)
    assert actual.movie.numel() == actual.target_movie.numel() == 0 and actual.pointer.tolist() == [0, 0, 0, 0]
