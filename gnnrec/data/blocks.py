"""Long arrays a block at a time, so that what a step needs in between stays small and in the processor's cache."""

from __future__ import annotations

import numpy as np

_BLOCK = 1 << 20  # rows


def blocks(rows: int) -> list[slice]:
    """Slices that together cover ``rows`` rows."""
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]


def look_up(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """``table[positions]``, without numpy's 64-bit copy of all positions.

    Args:
        table: Any dtype, ``[entries]``.
        positions: Integers ``[rows]``.

    Returns:
        The dtype of ``table``, ``[rows]``.
    """
    found = np.empty(len(positions), table.dtype)
    for part in blocks(len(positions)):
        found[part] = table[positions[part]]
    return found
