"""Compiled loops on as many threads as torch computes with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

#: Below this number of entries a loop is not worth handing out.
SMALL = 20_000


def pieces(pointer: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Cuts lists into ``count`` consecutive ranges with about equal numbers of entries and of lists.

    Args:
        pointer: Offsets of the lists, ``[lists + 1]``.
        count: Ranges.

    Returns:
        First list and one past the last of each range.
    """
    lists = len(pointer) - 1
    # A list costs about as much as a few entries; this also cuts well where most lists are empty.
    cost = pointer[-1] - pointer[0] + 4 * lists
    bounds, wanted = [0], np.arange(1, count) * (cost / count)
    low, high = np.zeros(count - 1, np.int64), np.full(count - 1, lists, np.int64)
    for _ in range(lists.bit_length() + 1):
        middle = (low + high) // 2
        below = pointer[middle] - pointer[0] + 4 * middle < wanted
        low, high = np.where(below, np.minimum(middle + 1, high), low), np.where(below, high, middle)
    bounds += low.tolist() + [lists]
    return list(zip(bounds[:-1], bounds[1:]))


def stretches(length: int, count: int) -> list[tuple[int, int]]:
    """Cuts ``range(length)`` into ``count`` stretches of equal length."""
    bounds = [length * each // count for each in range(count + 1)]
    return list(zip(bounds[:-1], bounds[1:]))


def workers(entries: int) -> int:
    """Threads for a loop over ``entries``."""
    return 1 if entries < SMALL else torch.get_num_threads()


def shares(pointer: np.ndarray, entries: int) -> list[tuple[int, int]]:
    """:func:`pieces` of work that needs no table a thread: several for each, so that none waits long for another."""
    threads = workers(entries)
    return pieces(pointer, 4 * threads if threads > 1 else 1)


def run(work: Callable[[int, int, int], None], ranges: list[tuple[int, int]]) -> None:
    """Calls ``work(number, first, last)`` for every range, on several threads where there are several ranges.

    Args:
        work: Releases the interpreter, as kernels do, and writes to places of its own.
        ranges: What :func:`pieces` returns.
    """
    if len(ranges) == 1:
        work(0, *ranges[0])
        return
    futures = [_pool(torch.get_num_threads()).submit(work, number, *each) for number, each in enumerate(ranges)]
    for future in futures:
        future.result()


@functools.lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="gnnrec-kernel")


def array(tensor: Tensor) -> np.ndarray:
    """The memory of a CPU tensor; bfloat16, which NumPy has no type for, as uint16."""
    tensor = tensor.detach()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def optional(tensor: Tensor | None) -> np.ndarray | None:
    """:func:`array`, and None for None."""
    return None if tensor is None else array(tensor)
