"""CPU implementation of :mod:`gnnrec.kernels.top`.

Scores never leave the cache: a few rows are scored with a panel of columns, and each score above the lowest of the
row's top k so far enters this list, a heap with the worst on top. Columns are in the order of their lengths. A dot
product is at most the product of two lengths, so the panels of short columns are skipped where no row can list them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels import top_reference
from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.simd_products import LOWEST, ROWS, WIDTH, any_above, score_tile
from gnnrec.kernels.sorting import sort_within
from gnnrec.kernels.threads import array, equal_ranges, num_workers, run_compiled, run_threads

#: Tiles of a panel: with 64 dimensions their columns stay in the L2 cache while a block of rows is scored.
PANEL = 16
#: Share by which the largest possible score of a panel is raised: more than sums of many products are rounded by.
_SLACK = np.float32(1e-3)
#: Rows that are scored with a panel before the next panel.
BLOCK = 32 * ROWS

#: Comparisons must respect NaN and infinity.
exactly = functools.partial(compiled, fastmath=False)


@exactly
def _worse(score, column, other, other_column):
    """Tests whether a pair ranks below another: by lower score, then by higher column."""
    return score < other or (score == other and column > other_column)


@exactly
def _sift(scores, columns, size):
    """Restores a heap of ``size``, worst on top, after its top was replaced."""
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
def _sort_heap(scores, columns):
    """Sorts a heap, worst on top, to best first."""
    for size in range(len(scores) - 1, 0, -1):
        scores[0], scores[size] = scores[size], scores[0]
        columns[0], columns[size] = columns[size], columns[0]
        _sift(scores, columns, size)


@exactly
def _just_below(bound):
    """Returns the number before a bound: a score that ties with it may be of a lower column."""
    return bound if bound == LOWEST else np.nextafter(bound, np.float32(-np.inf))


@exactly
def _best(rows, norm, columns, bias, weight, ids, longest, highest, pointer, masked, first, last, scores, top_columns):
    """Fills ``scores`` and ``top_columns`` of the rows ``first`` to ``last``, best first."""
    tiles = columns.shape[0]
    k = scores.shape[1]
    panel_scores = np.empty((ROWS, PANEL * WIDTH), np.float32)
    cursor = np.empty(BLOCK, np.int64)
    for block in range(first, last, BLOCK):
        stop = min(block + BLOCK, last)
        for row in range(block, stop):
            cursor[row - block] = pointer[row]
            scores[row, :] = LOWEST
            top_columns[row, :] = -1
        for panel in range(0, tiles, PANEL):
            panel_stop = min(panel + PANEL, tiles)
            start, end = panel * WIDTH, panel_stop * WIDTH
            for group in range(block, stop, ROWS):
                reached = False
                for row in range(group, min(group + ROWS, stop)):
                    # Not if NaN: rows of NaN are scored.
                    reached |= not norm[row] * longest[panel // PANEL] + highest[panel // PANEL] < scores[row, 0]
                if not reached:
                    continue
                for tile in range(panel, panel_stop):
                    score_tile(rows, group, columns, tile, bias, weight, panel_scores, (tile - panel) * WIDTH)
                for row in range(group, min(group + ROWS, stop)):
                    own = row - group
                    at = cursor[row - block]
                    while at < pointer[row + 1] and masked[at] < end:
                        if masked[at] >= start:
                            panel_scores[own, masked[at] - start] = LOWEST
                        at += 1
                    cursor[row - block] = at
                    listed_scores, listed = scores[row], top_columns[row]
                    bound = listed_scores[0]
                    for tile in range(0, end - start, WIDTH):
                        if any_above(panel_scores, own, tile, _just_below(bound)):
                            for column in range(tile, tile + WIDTH):
                                score, identity = panel_scores[own, column], ids[start + column]
                                if score > bound or (score == bound and score > LOWEST and identity < listed[0]):
                                    listed_scores[0], listed[0] = score, identity
                                    _sift(listed_scores, listed, k)
                                    bound = listed_scores[0]
        for row in range(block, stop):
            _sort_heap(scores[row], top_columns[row])


@exactly
def _best_columns(scores, allowed, pointer, excluded, first, last, top_columns, values):
    """Fills ``top_columns`` and ``values`` of the rows ``first`` to ``last``, best first."""
    k, whole = values.shape[1], scores.shape[1] - scores.shape[1] % WIDTH
    for row in range(first, last):
        values[row, :], top_columns[row, :] = LOWEST, -1
        listed_values, listed, at = values[row], top_columns[row], pointer[row]
        bound = listed_values[0]
        for start in range(0, scores.shape[1], WIDTH):
            if start < whole and not any_above(scores, row, start, bound):
                continue
            for column in range(start, min(start + WIDTH, scores.shape[1])):
                score = scores[row, column]
                if not score > bound or (allowed is not None and not allowed[column]):
                    continue
                while at < pointer[row + 1] and excluded[at] < column:
                    at += 1
                if at == pointer[row + 1] or excluded[at] != column:
                    listed_values[0], listed[0] = score, column
                    _sift(listed_values, listed, k)
                    bound = listed_values[0]
        _sort_heap(listed_values, listed)


@exactly
def _finite(score, lowest, highest):
    """Returns the number as which a score is ranked."""
    return min(max(score, lowest), highest) if score == score else lowest


@exactly
def _is_ranked(column, allowed, excluded):
    """Tests whether a column is allowed and not excluded, by the sorted excluded columns of a row."""
    at = np.searchsorted(excluded, column)
    return allowed[column] and not (at < len(excluded) and excluded[at] == column)


@exactly
def _first_ranks(scores, rows, allowed, pointer, excluded, wanted_pointer, wanted, lowest, highest, first, last, ranks):
    """Fills ``ranks`` of the rows ``first`` to ``last``."""
    for number in range(first, last):
        own, left_out = scores[rows[number]], excluded[pointer[number] : pointer[number + 1]]
        best, place = lowest, len(own)
        for column in wanted[wanted_pointer[number] : wanted_pointer[number + 1]]:
            score = _finite(own[column], lowest, highest)
            if (score > best or (score == best and column < place)) and _is_ranked(column, allowed, left_out):
                best, place = score, column
        if place == len(own):
            ranks[number] = np.inf
            continue
        ahead = np.int32(1)
        for column in range(len(own)):
            score = _finite(own[column], lowest, highest)
            ahead += np.int32(allowed[column] & ((score > best) | ((score == best) & (column < place))))
        for column in left_out:
            score = _finite(own[column], lowest, highest)
            ahead -= np.int32(allowed[column] & ((score > best) | ((score == best) & (column < place))))
        ranks[number] = ahead


class PackedColumns(NamedTuple):
    """Columns in tiles: see :func:`gnnrec.kernels.simd_products.score_tile`.

    Attributes:
        packed: The tiles, by falling length of the columns.
        bias: Biases of the columns in tiles.
        weight: Weights of hidden units, or None for dot products.
        ids: Column at each place.
        longest: Largest length of each panel; infinite for hidden units.
        highest: Highest bias of each panel. Both are raised by more than sums are rounded by.
        count: Number of columns.
    """

    packed: np.ndarray
    bias: np.ndarray
    weight: np.ndarray | None
    ids: np.ndarray
    longest: np.ndarray
    highest: np.ndarray
    count: int


def lay_out(vectors: Tensor, bias: Tensor, weight: Tensor | None) -> PackedColumns:
    """Packs columns into tiles; the padding of the last tile scores below all columns."""
    count, dim = vectors.shape
    tiles = max(-(-count // WIDTH), 1)
    length = np.linalg.norm(array(vectors), axis=1) if weight is None else np.full(count, np.inf, np.float32)
    ids = np.argsort(-length, kind="stable").astype(np.int32)
    padded = np.zeros((tiles * WIDTH, dim), np.float32)
    padded[:count] = array(vectors)[ids]
    packed = np.ascontiguousarray(padded.reshape(tiles, WIDTH, dim).transpose(0, 2, 1))
    biases, lengths = np.full(tiles * WIDTH, LOWEST, np.float32), np.zeros(tiles * WIDTH, np.float32)
    biases[:count], lengths[:count] = array(bias)[ids], length[ids]
    raised = np.full(tiles * WIDTH, -np.inf, np.float32)
    with np.errstate(invalid="ignore"):  # an infinite bias gives NaN, and its panel is scored
        raised[:count] = biases[:count] + _SLACK * np.abs(biases[:count])
    panels = np.arange(0, tiles * WIDTH, PANEL * WIDTH)
    return PackedColumns(
        packed,
        biases.reshape(tiles, WIDTH),
        None if weight is None else array(weight.float()),
        np.append(ids, np.full(tiles * WIDTH - count, count, np.int32)),
        np.maximum.reduceat(lengths * (1 + _SLACK), panels),
        np.maximum.reduceat(raised, panels),
        count,
    )


def best(rows: Tensor, columns: PackedColumns, pointer: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See :meth:`gnnrec.kernels.top.ColumnScorer.best`."""
    count = len(rows)
    padded = np.zeros((-(-count // ROWS) * ROWS, rows.shape[1]), np.float32)
    padded[:count] = array(rows)
    scores, top_columns = np.empty((count, k), np.float32), np.empty((count, k), np.int32)
    place = np.empty(len(columns.ids), np.int32)
    place[columns.ids[: columns.count]] = np.arange(columns.count)
    own = pointer - pointer[0]
    masked = torch.from_numpy(place[array(excluded)[int(pointer[0]) : int(pointer[-1])]])
    masked = masked[sort_within(own, masked).long()]
    read = padded, np.linalg.norm(padded, axis=1), *columns[:-1], array(own), array(masked)
    ranges = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    if k and ranges:
        run_threads(lambda number, first, last: _best(*read, first, last, scores, top_columns), ranges)
    return torch.from_numpy(scores), torch.from_numpy(top_columns)


def best_columns(
    scores: Tensor, allowed: Tensor | None, pointer: Tensor, excluded: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.top.best_columns`."""
    if scores.dtype != torch.float32:
        return top_reference.best_columns(scores, allowed, pointer, excluded, k)
    columns, values = torch.empty(len(scores), k, dtype=torch.int32), torch.empty(len(scores), k)
    if k:
        ranges = equal_ranges(len(scores), 4 * num_workers(scores.numel()))
        run_compiled(_best_columns, ranges, (scores.contiguous(), allowed, pointer, excluded), (columns, values))
    return columns, values.masked_fill_(columns < 0, -torch.inf)


def first_ranks(
    scores: Tensor,
    rows: Tensor,
    allowed: Tensor,
    pointer: Tensor,
    excluded: Tensor,
    wanted_pointer: Tensor,
    wanted: Tensor,
) -> Tensor:
    """See :func:`gnnrec.kernels.top.first_ranks`."""
    if scores.dtype != torch.float32:
        return top_reference.first_ranks(scores, rows, allowed, pointer, excluded, wanted_pointer, wanted)
    ranks, bounds = torch.empty(len(rows), dtype=torch.float64), np.finfo(np.float32)
    read = (scores, rows, allowed, pointer, excluded, wanted_pointer, wanted, bounds.min, bounds.max)
    run_compiled(_first_ranks, equal_ranges(len(rows), 4 * num_workers(len(rows) * scores.shape[1])), read, [ranks])
    return ranks
