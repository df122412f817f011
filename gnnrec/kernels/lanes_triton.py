"""Parts of Triton kernels that process an edge in several lanes (:mod:`gnnrec.kernels.fold_biases`) at once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

#: Bytes of a tile of edges x lanes that a program holds at a time: 64 per thread of a warp.
TILE = 2048
#: Most edges of a tile: most users have fewer.
LONGEST = 128


def tile_rows(columns: int, dtype: torch.dtype, tiles: int = 1) -> int:
    """Returns the edges of a tile, a power of two.

    Args:
        columns: Columns of the tile, a power of two.
        dtype: Type of its numbers.
        tiles: Tiles that share the registers, a power of two: more in kernels with more numbers for each edge and lane.
    """
    return max(1, min(LONGEST, TILE // (columns * dtype.itemsize)) // tiles)


@triton.jit
def carried(fold, edge, inside, first_fold, LANES: tl.constexpr):
    """Returns in which lanes edges are: all but the one of their own fold, bool ``[edges, lanes]``."""
    lane = tl.load(fold + edge, mask=inside, other=0).to(tl.int32) - first_fold
    return inside[:, None] & (lane[:, None] != tl.arange(0, LANES)[None, :])


@triton.jit
def load_rows(table, row, mask, LANES: tl.constexpr):
    """Loads rows of a table ``[rows, lanes]`` where ``mask`` ``[edges, lanes]`` is true, and zeros elsewhere."""
    lanes = tl.arange(0, LANES)
    return tl.load(table + row.to(tl.int64)[:, None] * LANES + lanes[None, :], mask=mask, other=0)
