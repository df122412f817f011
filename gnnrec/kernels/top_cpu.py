"""Compiled loops behind :mod:`gnnrec.kernels.top`.

Scores never leave the cache: a few rows are scored with a panel of columns, and what is above the lowest score of a
row's list so far goes into the list, a heap with the worst on top.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.simd_products import LOWEST, ROWS, WIDTH, any_above, score_tile
from gnnrec.kernels.threads import array, run

#: Tiles of a panel: with 64 dimensions their columns stay in the second cache while the rows of a block pass.
PANEL = 16
#: Rows that a panel is scored with before the next one is.
BLOCK = 32 * ROWS

#: Scores that are not numbers, or infinite, must compare as such.
exactly = functools.partial(compiled, fastmath=False)


@exactly
def _worse(score, column, other, other_column):
    """Whether a pair comes after another: it has the lower score, or the same and the higher column."""
    return score < other or (score == other and column > other_column)


@exactly
def _sift(scores, columns, size):
    """Restores a heap of ``size``, with the worst on top, of which only the top may be out of place."""
    score, column, place = scores[0], columns[0], 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _worse(scores[child + 1], columns[child + 1], scores[child], columns[child]):
            child += 1
        if not _worse(scores[child], columns[child], score, column):
            break
        scores[place], columns[place] = scores[child], columns[child]
        place = child
    scores[place], columns[place] = score, column


@exactly
def _best(rows, columns, bias, weight, pointer, masked, first, last, scores, found):
    """Fills ``scores`` and ``found`` of the rows ``first`` to ``last``, best first."""
    tiles = columns.shape[0]
    k = scores.shape[1]
    panel_scores = np.empty((ROWS, PANEL * WIDTH), np.float32)
    cursor = np.empty(BLOCK, np.int64)
    for block in range(first, last, BLOCK):
        stop = min(block + BLOCK, last)
        for row in range(block, stop):
            cursor[row - block] = pointer[row]
            scores[row, :] = LOWEST
            found[row, :] = -1
        for panel in range(0, tiles, PANEL):
            panel_stop = min(panel + PANEL, tiles)
            start, end = panel * WIDTH, panel_stop * WIDTH
            for group in range(block, stop, ROWS):
                for tile in range(panel, panel_stop):
                    score_tile(rows, group, columns, tile, bias, weight, panel_scores, (tile - panel) * WIDTH)
                for row in range(group, min(group + ROWS, stop)):
                    own = row - group
                    at = cursor[row - block]
                    while at < pointer[row + 1] and masked[at] < end:
                        panel_scores[own, masked[at] - start] = LOWEST
                        at += 1
                    cursor[row - block] = at
                    listed_scores, listed = scores[row], found[row]
                    bound = listed_scores[0]
                    for tile in range(0, end - start, WIDTH):
                        if any_above(panel_scores, own, tile, bound):
                            for column in range(tile, tile + WIDTH):
                                score = panel_scores[own, column]
                                if score > bound:
                                    listed_scores[0], listed[0] = score, start + column
                                    _sift(listed_scores, listed, k)
                                    bound = listed_scores[0]
        for row in range(block, stop):
            for size in range(k - 1, 0, -1):
                scores[row, 0], scores[row, size] = scores[row, size], scores[row, 0]
                found[row, 0], found[row, size] = found[row, size], found[row, 0]
                _sift(scores[row], found[row], size)


class PackedColumns(NamedTuple):
    """Columns in tiles: see :func:`gnnrec.kernels.simd_products.score_tile`."""

    packed: np.ndarray
    bias: np.ndarray
    weight: np.ndarray | None
    count: int


def lay_out(vectors: Tensor, bias: Tensor, weight: Tensor | None) -> PackedColumns:
    """Columns as the loops read them; what fills the last tile is below all scores."""
    count, dim = vectors.shape
    tiles = max(-(-count // WIDTH), 1)
    padded = np.zeros((tiles * WIDTH, dim), np.float32)
    padded[:count] = array(vectors)
    packed = np.ascontiguousarray(padded.reshape(tiles, WIDTH, dim).transpose(0, 2, 1))
    lowest = np.full((tiles, WIDTH), LOWEST, np.float32)
    lowest.reshape(-1)[:count] = array(bias)
    return PackedColumns(packed, lowest, None if weight is None else array(weight.float()), count)


def best(rows: Tensor, columns: PackedColumns, pointer: Tensor, left_out: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See :meth:`gnnrec.kernels.top.Columns.best`."""
    count = len(rows)
    padded = np.zeros((-(-count // ROWS) * ROWS, rows.shape[1]), np.float32)
    padded[:count] = array(rows)
    scores, found = np.empty((count, k), np.float32), np.empty((count, k), np.int32)
    read = padded, columns.packed, columns.bias, columns.weight, array(pointer), array(left_out)
    ranges = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    if k and ranges:
        run(lambda number, first, last: _best(*read, first, last, scores, found), ranges)
    return torch.from_numpy(scores), torch.from_numpy(found)
