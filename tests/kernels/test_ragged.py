"""Index arithmetic on ragged lists against plain loops and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels.ragged import counting_sort, index_dtype, offsets, owners, ranges, segment_sum, transpose

COUNTS = [[3, 0, 1, 0, 0, 5], [0], [0, 0, 0], [4], [0, 2], [2, 0], []]


@pytest.fixture(params=COUNTS, ids=str)
def counts(request) -> list[int]:
    return request.param


def test_offsets_are_running_totals(counts):
    pointer = offsets(torch.tensor(counts, dtype=torch.int64))
    assert pointer.dtype == torch.int64
    assert pointer.tolist() == [sum(counts[:n]) for n in range(len(counts) + 1)]


def test_offsets_do_not_overflow_small_counts():
    assert offsets(torch.full((3,), 2**30, dtype=torch.int32)).tolist() == [0, 2**30, 2**31, 3 * 2**30]


def test_owners_repeat_each_list(counts):
    expected = [number for number, count in enumerate(counts) for _ in range(count)]
    pointer = torch.tensor(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    for dtype in (torch.int32, torch.int64):
        actual = owners(pointer, dtype)
        assert actual.dtype == dtype and actual.tolist() == expected
    assert owners(pointer).dtype == torch.int32
    assert owners(pointer, entries=len(expected)).tolist() == expected


def test_ranges_are_concatenated(counts):
    starts = [17, 2, 100, 0, 5, 2][: len(counts)]
    expected = [start + step for start, count in zip(starts, counts) for step in range(count)]
    for dtype in (torch.int32, torch.int64):
        actual = ranges(torch.tensor(starts, dtype=dtype), torch.tensor(counts, dtype=dtype))
        assert actual.dtype == torch.int64 and actual.tolist() == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize(("length", "num_keys"), [(0, 4), (0, 0), (1, 1), (50, 7), (300, 200), (1000, 3)])
def test_counting_sort_is_numpys_stable_sort(dtype, length, num_keys):
    keys = torch.from_numpy(np.random.default_rng(length).integers(0, max(num_keys, 1), length)).to(dtype)
    before = keys.clone()
    pointer, order = counting_sort(keys, num_keys)
    assert torch.equal(keys, before)
    assert order.dtype == torch.int32 and pointer.dtype == torch.int64
    assert order.tolist() == np.argsort(keys.numpy(), kind="stable").tolist()
    counted = np.bincount(keys.numpy(), minlength=num_keys)
    assert pointer.tolist() == [0, *np.cumsum(counted)]


def test_counting_sort_of_keys_in_a_strided_view():
    keys = torch.tensor([[3, 0], [1, 0], [3, 0], [0, 0]])[:, 0]
    pointer, order = counting_sort(keys, 5)
    assert order.tolist() == [3, 1, 0, 2] and pointer.tolist() == [0, 1, 2, 2, 4, 4]


def test_counting_sort_leaves_keys_that_are_missing_empty():
    pointer, order = counting_sort(torch.tensor([5, 2, 5]), 8)
    assert pointer.tolist() == [0, 0, 0, 1, 1, 1, 3, 3, 3] and order.tolist() == [1, 0, 2]


@pytest.mark.parametrize("counts", [[], [0, 0], [3, 0, 5, 1], [40, 60, 0, 30]])
def test_transpose_sorts_the_entries_of_rows_stably_by_column(counts):
    column = torch.from_numpy(np.random.default_rng(1).integers(0, 7, sum(counts)).astype(np.int32))
    pointer, order, row = transpose(offsets(torch.tensor(counts, dtype=torch.int64)), column, 9)
    expected = np.argsort(column.numpy(), kind="stable")
    assert order.tolist() == expected.tolist()
    assert row.tolist() == np.repeat(np.arange(len(counts)), counts)[expected].tolist()
    assert pointer.tolist() == [0, *np.cumsum(np.bincount(column.numpy(), minlength=9))]
    assert (pointer.dtype, order.dtype, row.dtype) == (torch.int64, torch.int32, torch.int32)


def test_index_dtype_counts_to_two_to_the_31():
    assert index_dtype(2**31 - 1) == torch.int32 and index_dtype(2**31) == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_segment_sum_adds_lists_and_leaves_empty_ones_zero(counts, dtype):
    values = torch.from_numpy(np.random.default_rng(1).normal(size=sum(counts))).to(dtype)
    pointer = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    expected = [values.numpy()[a:b].sum() for a, b in zip(pointer[:-1], pointer[1:])]
    actual = segment_sum(values, torch.from_numpy(pointer))
    assert actual.dtype == dtype
    np.testing.assert_allclose(actual.numpy(), np.array(expected, actual.numpy().dtype), rtol=1e-5, atol=1e-6)
    empty = torch.tensor(counts, dtype=torch.int64) == 0
    assert (actual[empty] == 0).all()
