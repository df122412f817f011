"""Runs a function on several items at once: long operations of NumPy and Arrow release Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gnnrec.utils.cores import usable_cores
from gnnrec.utils.resource_errors import reserve_for_threads

Item = TypeVar("Item")
Result = TypeVar("Result")
#: More threads gain little: much of the time is spent between the long operations.
_MOST_THREADS = 4


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Returns ``[function(item) for item in items]``, computed in threads, a few at a time.

    Raises:
        Exception: What the function raised for the first of the items with an error.
    """
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    reserve_for_threads()
    with ThreadPoolExecutor(min(_MOST_THREADS, usable_cores())) as pool:
        return list(pool.map(function, items))
