"""Block-wise processing of long arrays, so that temporaries stay small and in the CPU cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gnnrec.data.threads import in_threads

_BLOCK = 1 << 20  # rows
_LOOK_UP_BLOCK = 1 << 18  # rows


def blocks(rows: int, size: int | None = None) -> list[slice]:
    """Consecutive slices of ``size`` rows, by default a million, that cover ``rows`` rows."""
    size = size or _BLOCK
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def look_up(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Computes ``table[positions]`` without numpy's 64-bit copy of all positions.

    Args:
        table: Any dtype, ``[entries]``.
        positions: Integers ``[rows]``.

    Returns:
        The dtype of ``table``, ``[rows]``.
    """
    values = np.empty(len(positions), table.dtype)

    def look_up_block(block: slice) -> None:
        values[block] = table[positions[block]]

    in_threads(look_up_block, blocks(len(positions), _LOOK_UP_BLOCK))
    return values


def user_blocks(user_ptr: np.ndarray, ratings: int) -> Iterator[tuple[int, int]]:
    """Yields row ranges ``(first user, end)`` with at most about ``ratings`` ratings and at least one user each.

    Args:
        user_ptr: Start of the ratings of each user, ``[users + 1]``.
        ratings: Ratings of a block.
    """
    first, users = 0, len(user_ptr) - 1
    while first < users:
        end = max(first + 1, int(np.searchsorted(user_ptr, user_ptr[first] + ratings, side="right")) - 1)
        yield first, end
        first = end
