"""Biases and temporal biases of several folds at once, compiled and in plain torch, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch, fold_biases_cpu, fold_biases_reference, sums_cpu
from gnnrec.kernels import fold_biases as kernels
from gnnrec.kernels.edges import Edges
from tests.kernels.rating_examples import (
    FOLDS,
    MOVIES,
    WINDOWS,
    as_tensors,
    assert_near,
    cells_of,
    effects,
    shared_bins,
    some_edges,
)

USERS, EVERY = some_edges()
CELLS = cells_of(EVERY)
#: No fold, one fold, and groups of folds that start before and reach past the last one.
GROUPS = pytest.mark.parametrize(
    "folds", [range(-1, 0), range(2, 3), range(0, 4), range(2, 6), range(1, 9), range(0, 16)], ids=str
)


@pytest.fixture(params=["cpu", "reference", "reference in blocks"], autouse=True)
def implementation(request, several_threads, monkeypatch):
    if request.param == "reference in blocks":
        monkeypatch.setattr(fold_biases_reference, "BLOCK", 20)  # one user has 90
    with dispatch.forced(request.param.split()[0]):
        yield


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def edges(dtype) -> Edges:
    return as_tensors(USERS, dtype)


def random_biases(lanes: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws mean plus bias of users, and biases of movies."""
    random = np.random.default_rng(5)
    user, movie = 3.4 + random.normal(0, 0.4, (len(USERS), lanes)), random.normal(0, 0.4, (MOVIES, lanes))
    return torch.from_numpy(user).to(dtype), torch.from_numpy(movie).to(dtype)


@GROUPS
@pytest.mark.parametrize("sums", [True, False])
def test_bias_sweep_equals_plain_loops(edges, dtype, folds, sums):
    random, lanes = np.random.default_rng(6), len(folds)
    total = torch.from_numpy(random.normal(0, 3, (len(USERS), lanes))).to(dtype)
    degree = torch.from_numpy(random.integers(0, 30, (len(USERS), lanes))).to(dtype)
    _, movie_bias = random_biases(lanes, dtype)
    before = movie_bias.clone()
    user_bias, movie_sums = kernels.bias_sweep(edges, folds, movie_bias, total, degree, 5.0, sums)
    expected = np.zeros((len(USERS), lanes))
    for lane, fold in enumerate(folds):
        for user, rated in enumerate(USERS):
            others = sum(float(movie_bias[edge.movie, lane]) for edge in rated if edge.fold != fold)
            expected[user, lane] = (float(total[user, lane]) - others) / (float(degree[user, lane]) + 5.0)
    assert_near(user_bias, expected, dtype)
    assert torch.equal(movie_bias, before)
    if sums:
        of_movies = np.zeros((MOVIES, lanes))
        for edge in EVERY:
            for lane, fold in enumerate(folds):
                of_movies[edge.movie, lane] += expected[edge.user, lane] if edge.fold != fold else 0
        assert_near(movie_sums, of_movies, dtype)
    else:
        assert movie_sums is None


def plain_year_sums(folds: range, user_base: torch.Tensor, movie_bias: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Computes sums over half-width bins, and over both bins around them, ``[cells, 2, lanes]``."""
    sums, both = np.zeros((len(CELLS), 2, len(folds))), np.zeros((len(CELLS), 2, len(folds)))
    half = WINDOWS.movie_half_width
    for edge in EVERY:
        for lane, fold in enumerate(folds):
            if edge.fold != fold:
                residual = edge.rating - float(user_base[edge.user, lane]) - float(movie_bias[edge.movie, lane])
                left = np.array([residual, 1.0])
                sums[CELLS.index((edge.movie, edge.time // half)), :, lane] += left
                for place, (movie, bin) in enumerate(CELLS):
                    if movie == edge.movie:
                        both[place, :, lane] += left * shared_bins(bin * half, edge.time, half)
    return sums, both


def follows() -> torch.Tensor:
    return torch.tensor([n > 0 and CELLS[n - 1] == (movie, bin - 1) for n, (movie, bin) in enumerate(CELLS)])


@GROUPS
def test_year_sums_and_both_bins_equal_plain_loops(edges, dtype, folds):
    biases = random_biases(len(folds), dtype)
    sums = kernels.year_sums(edges, folds, *biases, len(CELLS))
    expected, both = plain_year_sums(folds, *biases)
    assert_near(sums, expected, dtype)
    assert_near(kernels.both_bins(sums, follows()), both, dtype)
    assert expected[:, 1].sum() > 50 and follows().any()


@GROUPS
def test_temporal_biases_equal_plain_loops(edges, dtype, folds):
    user_base, movie_bias = random_biases(len(folds), dtype)
    years = kernels.both_bins(kernels.year_sums(edges, folds, user_base, movie_bias, len(CELLS)), follows())
    targets = torch.tensor([[sum(edge.fold == fold for edge in rated) for rated in USERS] for fold in folds])
    alone, pointer = len(folds) == 1, [0, *targets.sum(1).cumsum(0).tolist()]
    actual, before = kernels.temporal_biases(
        edges, folds, targets, pointer, user_base, movie_bias, years, WINDOWS, stages=alone
    )
    sides = [("movie", WINDOWS.movie_half_width, WINDOWS.movie_shrinkage)]
    sides += [("user", *sizes) for sizes in zip(WINDOWS.user_half_widths, WINDOWS.user_shrinkages)]
    expected: list[list[float]] = []
    for lane, fold in enumerate(folds):
        left = [e.rating - float(user_base[e.user, lane]) - float(movie_bias[e.movie, lane]) for e in EVERY]
        biases, stages = [], []
        for side, half, shrinkage in sides:
            if side == "user":
                stages.append(left)
            biases.append(effects(EVERY, left, side, half, shrinkage, fold))
            left = [residual - bias for residual, bias in zip(left, biases[-1])]
        expected += [[of_kind[n] for of_kind in biases] for n, edge in enumerate(EVERY) if edge.fold == fold]
        if alone:
            assert_near(before, stages, dtype)
    assert before is None or alone
    assert actual.shape == (sum(edge.fold in folds for edge in EVERY), 3)
    assert_near(actual, expected, dtype)
    assert len(expected) > 10 or folds.start < 0


def test_statistics_of_no_ratings_are_zero(dtype):
    empty, folds = as_tensors([[], [], []], dtype), range(0, 4)
    zeros, movies = torch.zeros(3, 4, dtype=dtype), torch.ones(MOVIES, 4, dtype=dtype)
    bias, movie_sums = kernels.bias_sweep(empty, folds, movies, zeros, zeros, 5.0)
    years = kernels.year_sums(empty, folds, zeros, movies, 5)
    assert (bias == 0).all() and (movie_sums == 0).all() and (years == 0).all() and years.shape == (5, 2, 4)
    targets = torch.zeros(4, 3, dtype=torch.int64)
    actual, before = kernels.temporal_biases(empty, folds, targets, [0] * 5, zeros, movies, years, WINDOWS)
    assert actual.shape == (0, 3) and before is None
    _, stages = kernels.temporal_biases(
        empty, range(-1, 0), targets[:1], [0, 0], zeros[:, :1], movies[:, :1], years[:, :, :1], WINDOWS, stages=True
    )
    assert stages.shape == (2, 0)


def test_a_fold_above_the_signed_range_has_its_own_lane(dtype):
    users = [[edge.__class__(**vars(edge) | {"fold": edge.fold + 252}) for edge in rated] for rated in USERS]
    shifted, biases = as_tensors(users, dtype), random_biases(4, dtype)
    sums = kernels.year_sums(shifted, range(252, 256), *biases, len(CELLS))
    assert torch.equal(sums, kernels.year_sums(as_tensors(USERS, dtype), range(FOLDS), *biases, len(CELLS)))
    alone = kernels.year_sums(shifted, range(-1, 0), *(values[:, :1] for values in biases), len(CELLS))
    assert alone[:, 1].sum() == len(EVERY)


@pytest.mark.parametrize("kernels_of", [fold_biases_cpu.kernels, sums_cpu.kernels])
def test_cached_files_have_the_same_names_in_every_process(kernels_of):
    """numba puts what a function closes over into the names, and a compiled function differs among processes."""
    for kernel in vars(kernels_of(8)).values():
        assert [type(cell.cell_contents) for cell in kernel.py_func.__closure__] == [int]
