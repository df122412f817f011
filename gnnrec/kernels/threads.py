"""Runs compiled loops on as many threads as torch uses, and converts their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: A loop with fewer entries runs on one thread.
SMALL = 20_000


def balanced_ranges(pointer: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Splits lists into ``count`` consecutive ranges of about equal cost.

    Args:
        pointer: Offsets of the lists, ``[lists + 1]``.
        count: Number of ranges.

    Returns:
        First list and one past the last of each range.
    """
    lists = len(pointer) - 1
    # A list costs about as much as a few entries, which also balances ranges of mostly empty lists.
    cost = pointer[-1] - pointer[0] + 4 * lists
    bounds, wanted = [0], np.arange(1, count) * (cost / count)
    low, high = np.zeros(count - 1, np.int64), np.full(count - 1, lists, np.int64)
    for _ in range(lists.bit_length() + 1):
        middle = (low + high) // 2
        below = pointer[middle] - pointer[0] + 4 * middle < wanted
        low, high = np.where(below, np.minimum(middle + 1, high), low), np.where(below, high, middle)
    bounds += low.tolist() + [lists]
    return list(zip(bounds[:-1], bounds[1:]))


def equal_ranges(length: int, count: int) -> list[tuple[int, int]]:
    """Splits ``range(length)`` into ``count`` ranges of equal length."""
    bounds = [length * number // count for number in range(count + 1)]
    return list(zip(bounds[:-1], bounds[1:]))


def num_workers(entries: int) -> int:
    """Returns the number of threads for a loop over ``entries``."""
    return 1 if entries < SMALL else torch.get_num_threads()


def work_ranges(pointer: np.ndarray, entries: int) -> list[tuple[int, int]]:
    """Splits lists into several ranges per thread, for better balance, if threads need no tables of their own."""
    threads = num_workers(entries)
    return balanced_ranges(pointer, 4 * threads if threads > 1 else 1)


def run_threads(work: Callable[[int, int, int], None], ranges: list[tuple[int, int]]) -> None:
    """Calls ``work(number, first, last)`` for every range, in parallel.

    Args:
        work: Function that releases the GIL; different ranges write to different memory.
        ranges: First and one past the last list of each range.
    """
    if len(ranges) == 1:
        work(0, *ranges[0])
        return
    pool = _pool(torch.get_num_threads())
    futures = [pool.submit(work, number, first, last) for number, (first, last) in enumerate(ranges)]
    for future in futures:
        future.result()


def run_compiled(
    loop: Callable,
    ranges: list[tuple[int, int]],
    read: Sequence[Any],
    written: Sequence[Tensor | None] = (),
    tables: Sequence[Tensor | None] = (),
) -> None:
    """Calls ``loop(*read, first, last, *written, *tables_of_the_range)`` for every range, in parallel.

    Args:
        loop: Compiled loop.
        ranges: First and one past the last list of each range.
        read: Arguments; tensors are passed as arrays, all else as it is.
        written: Results that all ranges share; different ranges write to different elements. None is passed on.
        tables: Results with a first dimension of ranges; each range writes to its own. None is passed on.
    """
    arguments = [array(value) if isinstance(value, Tensor) else value for value in read]
    results, own = [optional_array(tensor) for tensor in written], [optional_array(tensor) for tensor in tables]

    def work(number: int, first: int, last: int) -> None:
        loop(*arguments, first, last, *results, *(None if table is None else table[number] for table in own))

    run_threads(work, ranges)


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="gnnrec-kernel")


def array(tensor: Tensor) -> np.ndarray:
    """Returns the memory of a CPU tensor; bfloat16, which NumPy does not support, as uint16."""
    tensor = tensor.detach()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def number_type(tensor: Tensor) -> type[np.floating]:
    """Returns the NumPy type of a float tensor's numbers, in which a loop that reads it expects its scalars."""
    return array(tensor).dtype.type


def unsigned(key: int) -> np.uint64:
    """Converts a key of :func:`gnnrec.rng.key` to the type that loops expect."""
    return np.uint64(key % (1 << 64))


def optional_array(tensor: Tensor | None) -> np.ndarray | None:
    """Returns :func:`array` of a tensor, and None for None."""
    return None if tensor is None else array(tensor)
