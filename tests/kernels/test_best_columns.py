"""Top-k columns of a matrix against a stable sort of each row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch
from gnnrec.kernels.simd_products import WIDTH
from gnnrec.kernels.top import best_columns, first_ranks


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield


def listed(scores: torch.Tensor, allowed: np.ndarray | None, left_out: list[list[int]], k: int) -> list[list[int]]:
    """Columns of each row; checks the scores that come with them."""
    pointer = torch.tensor([0, *np.cumsum([len(columns) for columns in left_out])])
    flat = torch.tensor([column for columns in left_out for column in columns], dtype=torch.int32)
    catalog = None if allowed is None else torch.from_numpy(allowed)
    before = scores.clone()
    columns, values = best_columns(scores, catalog, pointer, flat, k)
    assert torch.equal(before.nan_to_num(), scores.nan_to_num()), "the matrix is not written to"
    assert columns.dtype == torch.int32 and columns.shape == values.shape == (len(scores), min(k, scores.shape[1]))
    kept = columns >= 0
    own = scores.gather(1, columns.long().clamp(min=0))
    assert torch.equal(values[kept].double(), own[kept].double()) and (values[~kept] == -torch.inf).all()
    return [[column for column in row if column >= 0] for row in columns.tolist()]


def expected(scores: torch.Tensor, allowed: np.ndarray | None, left_out: list[list[int]], k: int) -> list[list[int]]:
    found = []
    for row, without in zip(scores.double().numpy(), left_out):
        order = [int(column) for column in np.argsort(-row, kind="stable") if np.isfinite(row[column])]
        kept = [column for column in order if column not in set(without) and (allowed is None or allowed[column])]
        found.append(kept[:k])
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, WIDTH - 1, WIDTH, 5 * WIDTH + 3])
@pytest.mark.parametrize("k", [1, 7, 100])
@pytest.mark.parametrize("restricted", [False, True])
def test_columns_equal_a_stable_sort(dtype, columns, k, restricted):
    generator = np.random.default_rng(columns + k)
    scores = torch.from_numpy(generator.integers(-9, 9, (40, columns))).to(dtype)
    left_out = [np.flatnonzero(generator.random(columns) < generator.random()).tolist() for _ in range(40)]
    allowed = generator.random(columns) < 0.6 if restricted else None
    assert listed(scores, allowed, left_out, k) == expected(scores, allowed, left_out, k)


def test_rows_that_share_memory():
    scores = torch.arange(50.0).flip(0).expand(3, -1)
    assert listed(scores, None, [[], [0], [0, 1]], 2) == [[0, 1], [1, 2], [2, 3]]


def test_nan_and_minus_infinity_are_no_scores():
    scores = torch.tensor([[1.0, torch.nan, 3.0, -torch.inf, 2.0]] * 2)
    assert listed(scores, None, [[], [2]], 5) == [[2, 4, 0], [4, 0]]


def test_no_rows():
    assert listed(torch.zeros(0, 4), None, [], 3) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("columns", [1, WIDTH, 5 * WIDTH + 3])
def test_first_ranks_equal_a_stable_sort(dtype, columns):
    generator = np.random.default_rng(columns)
    values = np.array([torch.nan, -torch.inf, torch.inf, *range(-9, 9)])
    scores = torch.from_numpy(generator.choice(values, (40, columns))).to(dtype)
    rows = generator.permutation(40)[:25]
    allowed = generator.random(columns) < 0.7
    left_out = [np.flatnonzero(generator.random(columns) < generator.random()) for _ in rows]
    wanted = [generator.permutation(columns)[: generator.integers(1, 4)] for _ in rows]
    bounds = torch.finfo(dtype)
    expected_ranks = []
    for row, without, own in zip(rows, left_out, wanted):
        finite = np.nan_to_num(scores[row].double().numpy(), nan=bounds.min, neginf=bounds.min, posinf=bounds.max)
        order = [column for column in np.argsort(-finite, kind="stable") if allowed[column] and column not in without]
        expected_ranks.append(min((order.index(column) + 1 for column in own if column in order), default=np.inf))

    def lists(columns_of_rows):
        pointer = torch.tensor([0, *np.cumsum([len(some) for some in columns_of_rows])])
        return pointer, torch.from_numpy(np.concatenate(columns_of_rows)).int()

    ranks = first_ranks(scores, torch.from_numpy(rows), torch.from_numpy(allowed), *lists(left_out), *lists(wanted))
    assert ranks.dtype == torch.float64 and ranks.tolist() == expected_ranks
