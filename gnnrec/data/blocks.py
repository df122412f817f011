"""Block-wise processing of long arrays, so that temporaries stay small and in the CPU cache."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 20  # rows


def blocks(rows: int) -> list[slice]:
    """Consecutive slices that cover ``rows`` rows."""
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]


def look_up(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Computes ``table[positions]`` without numpy's 64-bit copy of all positions.

    Args:
        table: Any dtype, ``[entries]``.
        positions: Integers ``[rows]``.

    Returns:
        The dtype of ``table``, ``[rows]``.
    """
    values = np.empty(len(positions), table.dtype)
    for block in blocks(len(positions)):
        values[block] = table[positions[block]]
    return values
