"""Top-k columns against a sort of all scores; scores are integers, which makes them exact, with many ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import dispatch, threads, top_cpu
from gnnrec.kernels.simd_products import ROWS, WIDTH
from gnnrec.kernels.top import ColumnScorer
from gnnrec.kernels.top_cpu import BLOCK, PANEL

HIDDEN = pytest.mark.parametrize("hidden", [False, True], ids=["products", "hidden units"])


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def implementation(request):
    with dispatch.forced(request.param):
        yield


def whole_numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-3, 4, shape).astype(np.float32)


def expected(rows, vectors, bias, weight, left_out: list[list[int]], k: int) -> list[list[tuple[float, int]]]:
    """Returns (score, column) of each row by a stable sort in float64."""
    rows, vectors = rows.astype(np.float64), vectors.astype(np.float64)
    if weight is None:
        scores = rows @ vectors.T + bias
    else:
        scores = np.maximum(rows[:, None] + vectors, 0) @ weight.astype(np.float64) + bias
    result = []
    for row, without in zip(scores, left_out):
        order = [column for column in np.argsort(-row, kind="stable") if column not in set(without)][:k]
        result.append([(row[column], column) for column in order])
    return result


def top_columns(rows, vectors, bias, weight, left_out: list[list[int]], k: int) -> list[list[tuple[float, int]]]:
    pointer = torch.tensor([0, *np.cumsum([len(columns) for columns in left_out])])
    flat = torch.tensor([column for columns in left_out for column in columns], dtype=torch.int32)
    tensors = [None if values is None else torch.from_numpy(values) for values in (vectors, bias, weight)]
    scores, columns = ColumnScorer(*tensors).best(torch.from_numpy(rows), pointer, flat, k)
    assert scores.dtype == torch.float32 and columns.dtype == torch.int32 and scores.shape == columns.shape
    assert scores.shape == (len(rows), min(k, len(vectors)))
    both = zip(scores.tolist(), columns.tolist())
    return [[(score, column) for score, column in zip(*row) if column >= 0] for row in both]


def case(rows: int, columns: int, dim: int, hidden: bool, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    weight = whole_numbers(rng, dim) if hidden else None
    left_out = [np.flatnonzero(rng.random(columns) < rng.random()).tolist() for _ in range(rows)]
    return (
        whole_numbers(rng, rows, dim),
        whole_numbers(rng, columns, dim),
        whole_numbers(rng, columns),
        weight,
        left_out,
    )


@HIDDEN
@pytest.mark.parametrize("rows", [1, ROWS - 1, ROWS + 1])
@pytest.mark.parametrize("columns", [1, WIDTH - 1, WIDTH, WIDTH + 1, PANEL * WIDTH + 3])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_scores_and_columns_equal_a_sort(rows, columns, k, hidden):
    inputs = case(rows, columns, 7, hidden)
    assert top_columns(*inputs, k) == expected(*inputs, k)


@HIDDEN
def test_blocks_of_rows_on_several_threads_equal_a_sort(hidden, monkeypatch):
    inputs = case(2 * BLOCK + 5, 70, 3, hidden)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    threads._pool.cache_clear()
    try:
        assert top_columns(*inputs, 4) == expected(*inputs, 4)
    finally:
        torch.set_num_threads(before)
        threads._pool.cache_clear()


def test_ties_are_in_order_of_columns():
    columns = 3 * WIDTH
    zero = np.zeros((2, 4), np.float32), np.zeros((columns, 4), np.float32), np.zeros(columns, np.float32), None
    assert top_columns(*zero, [[], [0, 2]], 3) == [[(0, 0), (0, 1), (0, 2)], [(0, 1), (0, 3), (0, 4)]]


@pytest.mark.parametrize("rising", [True, False])
def test_ascending_and_descending_scores_equal_a_sort(rising):
    """Every score or none enters the list of the top k so far."""
    bias = np.arange(500, dtype=np.float32) * (1 if rising else -1)
    inputs = np.zeros((3, 2), np.float32), np.zeros((500, 2), np.float32), bias, None, [[], [499], [0, 1]]
    assert top_columns(*inputs, 20) == expected(*inputs, 20)


def test_rows_may_exclude_all_columns():
    rows, vectors, bias, _, _ = case(3, 9, 5, False)
    everything = list(range(9))
    assert [len(row) for row in top_columns(rows, vectors, bias, None, [everything, everything[1:], []], 4)] == [
        0,
        1,
        4,
    ]


def test_no_rows_have_no_result():
    _, vectors, bias, _, _ = case(1, 9, 5, False)
    assert top_columns(np.zeros((0, 5), np.float32), vectors, bias, None, [], 4) == []


def test_nan_and_minus_infinity_are_no_scores():
    vectors, bias = np.zeros((6, 2), np.float32), np.array([1, np.nan, 3, -np.inf, 2, np.nan], np.float32)
    assert top_columns(np.zeros((1, 2), np.float32), vectors, bias, None, [[]], 6) == [[(3, 2), (2, 4), (1, 0)]]


def test_long_vectors_agree_with_torch():
    generator = torch.Generator().manual_seed(0)
    rows, vectors, bias = (torch.randn(*shape, generator=generator) for shape in ((50, 64), (900, 64), (900,)))
    scores, columns = ColumnScorer(vectors, bias).best(
        rows, torch.zeros(51, dtype=torch.int64), torch.zeros(0).int(), 10
    )
    best = (rows.double() @ vectors.double().T + bias).topk(10)
    torch.testing.assert_close(scores.double(), best.values, rtol=1e-5, atol=1e-5)
    assert (columns == best.indices).all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_columns_that_cannot_be_listed_are_left_out(spread, monkeypatch):
    """Lengths differ much, and short columns tie with long ones; the result is that of all scores."""
    rng = np.random.default_rng(3)
    rows, vectors, bias, _, left_out = case(ROWS + 5, 3 * PANEL * WIDTH + 9, 6, False)
    vectors *= np.exp2(np.round(spread * rng.normal(size=(len(vectors), 1)))).astype(np.float32)
    vectors[rng.random(len(vectors)) < 0.3] = 0
    inputs = rows, vectors, np.round(bias), None, left_out
    assert top_columns(*inputs, 7) == expected(*inputs, 7)
    if dispatch._forced[-1] == "cpu" and spread == 3:
        scored = []
        compiled_best = top_cpu._best
        lengths = np.linalg.norm(vectors, axis=1)
        monkeypatch.setattr(top_cpu, "_best", lambda *values: scored.append(values) or compiled_best(*values))
        top_columns(*inputs, 7)
        longest = scored[0][6]
        assert longest[0] >= lengths.max() and longest[-1] == 0 and (np.diff(longest) <= 0).all()


def test_large_biases_are_not_rounded_away():
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(2 * PANEL * WIDTH, 8)).astype(np.float32)
    vectors[PANEL * WIDTH :] *= np.float32(1e-3)
    bias = np.where(np.arange(len(vectors)) < PANEL * WIDTH, 0, 30).astype(np.float32)
    rows = rng.normal(size=(20, 8)).astype(np.float32)
    scores = rows.astype(np.float64) @ vectors.T + bias
    found = top_columns(rows, vectors, bias, None, [[]] * 20, 5)
    values = np.array([[score for score, _ in row] for row in found])
    np.testing.assert_allclose(values, -np.sort(-scores, 1)[:, :5], atol=1e-5)


def test_scores_do_not_depend_on_blocks():
    rows, vectors, bias = (torch.randn(*shape) for shape in ((101, 33), (700, 33), (700,)))
    columns = ColumnScorer(vectors, bias)

    def best(some: torch.Tensor) -> tuple:
        return columns.best(some, torch.zeros(len(some) + 1, dtype=torch.int64), torch.zeros(0).int(), 5)

    whole = best(rows)
    pieces = [best(some) for some in rows.split(17)]
    close = dict(rtol=0, atol=0) if dispatch._forced[-1] == "cpu" else dict(rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat([piece[0] for piece in pieces]), whole[0], **close)
    assert (torch.cat([piece[1] for piece in pieces]) == whole[1]).all()
