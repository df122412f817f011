"""Ranges of work for threads cover every list once and are balanced."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from gnnrec.kernels import threads

COUNTS = {
    "equal": [10] * 100,
    "random": np.random.default_rng(0).integers(0, 50, 333).tolist(),
    "long tail": np.random.default_rng(1).zipf(1.5, 500).clip(max=3000).tolist(),
    "one huge list": [3] * 50 + [100_000] + [3] * 50,
    "huge first": [100_000] + [1] * 30,
    "huge last": [1] * 30 + [100_000],
    "empty lists": [0] * 400 + [7] * 5 + [0] * 400,
    "all empty": [0] * 64,
    "one list": [9],
    "fewer lists than ranges": [4, 5],
    "no lists": [],
}


@pytest.mark.parametrize("count", [1, 2, 3, 8, 61])
@pytest.mark.parametrize("name", COUNTS)
def test_balanced_ranges_have_every_list_once_at_equal_cost(name, count):
    counts = np.array(COUNTS[name], dtype=np.int64)
    # Offsets need not begin at zero: lists may be part of others.
    pointer = 17 + np.concatenate([[0], np.cumsum(counts)])
    ranges = threads.balanced_ranges(pointer, count)
    assert len(ranges) == count
    assert [row for first, last in ranges for row in range(first, last)] == list(range(len(counts)))
    # A list is not split, so a range costs at most an equal share plus the largest list.
    cost = [int(pointer[last] - pointer[first]) + 4 * (last - first) for first, last in ranges]
    largest = int(counts.max(initial=0)) + 4
    assert max(cost) <= sum(cost) / count + largest
    assert min(cost) >= sum(cost) / count - largest or count > len(counts) or name.startswith(("huge", "one huge"))


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [0, 1, 5, 8, 1000, 10**12 + 7])
def test_equal_ranges_differ_by_at_most_one(length, count):
    ranges = threads.equal_ranges(length, count)
    assert len(ranges) == count and ranges[0][0] == 0 and ranges[-1][1] == length
    assert all(one[1] == other[0] for one, other in zip(ranges[:-1], ranges[1:]))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_small_loops_run_on_one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    assert threads.num_workers(threads.SMALL - 1) == 1
    assert threads.num_workers(threads.SMALL) == 5


def test_every_range_runs_once_and_in_parallel(several_threads):
    count, actual = torch.get_num_threads(), []
    together = threading.Barrier(count, timeout=20)

    def work(number: int, first: int, last: int) -> None:
        together.wait()  # passes only if all ranges run at the same time
        actual.append((number, first, last))

    threads.run_threads(work, [(10 * n, 10 * n + 10) for n in range(count)])
    assert sorted(actual) == [(n, 10 * n, 10 * n + 10) for n in range(count)]


def test_an_error_in_a_thread_is_raised(several_threads):
    def work(number: int, first: int, last: int) -> None:
        if first == 1:
            raise ArithmeticError("in a thread")

    with pytest.raises(ArithmeticError, match="in a thread"):
        threads.run_threads(work, [(0, 1), (1, 2), (2, 3)])


def test_arrays_share_the_memory_of_tensors():
    tensor = torch.arange(4.0, requires_grad=True)
    threads.array(tensor)[1] = 9
    assert tensor.tolist() == [0, 9, 2, 3]
    halves = torch.ones(3, dtype=torch.bfloat16)
    assert threads.array(halves).tolist() == [0x3F80] * 3
    assert threads.optional_array(None) is None and threads.optional_array(tensor)[1] == 9
