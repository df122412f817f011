"""Block-wise processing of long arrays, so that temporaries stay small and in the CPU cache."""

from __future__ import annotations

import numpy as np

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
    for block in blocks(len(positions), _LOOK_UP_BLOCK):
        values[block] = table[positions[block]]
    return values
