"""Reference implementation of :mod:`gnnrec.kernels.top` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.ragged import owners

#: Most scores or hidden units in memory at a time, for blocks of more than one row.
HELD = 1 << 26

Columns = tuple[Tensor, Tensor, Tensor | None]


def lay_out(vectors: Tensor, bias: Tensor, weight: Tensor | None) -> Columns:
    """Returns the columns unchanged."""
    return vectors, bias, weight


def best(rows: Tensor, columns: Columns, pointer: Tensor, excluded: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See :meth:`gnnrec.kernels.top.ColumnScorer.best`."""
    vectors, _, weight = columns
    scores = rows.new_empty(len(rows), k)
    top_columns = torch.empty(len(rows), k, dtype=torch.int32, device=rows.device)
    block = max(1, HELD // max(vectors.numel() if weight is not None else len(vectors), 1))
    for first in range(0, len(rows) if k else 0, block):
        some = slice(first, min(first + block, len(rows)))
        bounds = pointer[some.start : some.stop + 1]
        block_excluded = excluded[int(bounds[0]) : int(bounds[-1])]
        found = best_columns(_scores(rows[some], columns), None, bounds - bounds[0], block_excluded, k)
        top_columns[some], scores[some] = found
    return scores, top_columns


def best_columns(
    scores: Tensor, allowed: Tensor | None, pointer: Tensor, excluded: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.top.best_columns`."""
    scores = scores.nan_to_num(nan=-torch.inf, neginf=-torch.inf, posinf=torch.inf)
    scores[owners(pointer, torch.int64), excluded.long()] = -torch.inf
    if allowed is not None:
        scores.masked_fill_(~allowed, -torch.inf)
    values, column = _highest(scores, k)
    return column.masked_fill_(values == -torch.inf, -1).int(), values


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
    scores = ranked_scores(scores[rows], allowed, pointer, excluded)
    row, column = owners(wanted_pointer, torch.int64), wanted.long()
    own = scores[row, column]
    best = torch.segment_reduce(own, "max", offsets=wanted_pointer)
    place = torch.where(own == best[row], column, scores.shape[1]).double()
    place = torch.segment_reduce(place, "min", offsets=wanted_pointer)
    columns = torch.arange(scores.shape[1], device=scores.device)
    ahead = (scores > best[:, None]) | ((scores == best[:, None]) & (columns < place[:, None]))
    return (ahead.sum(1) + 1).double().masked_fill(best == -torch.inf, torch.inf)


def ranked_scores(scores: Tensor, allowed: Tensor, pointer: Tensor, excluded: Tensor) -> Tensor:
    """Copies scores as finite numbers, with minus infinity for exactly the columns that are not ranked."""
    lowest, highest = torch.finfo(scores.dtype).min, torch.finfo(scores.dtype).max
    scores = scores.nan_to_num(nan=lowest, neginf=lowest, posinf=highest)
    scores[owners(pointer, torch.int64), excluded.long()] = -torch.inf
    return scores.masked_fill_(~allowed, -torch.inf)


def _scores(rows: Tensor, columns: Columns) -> Tensor:
    vectors, bias, weight = columns
    if weight is None:
        return torch.addmm(bias, rows, vectors.T)
    return torch.relu(rows[:, None] + vectors) @ weight + bias


def _highest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Computes the top-k values and columns, highest first, ties by column."""
    values, column = scores.topk(k, 1)
    column, by_column = column.sort(1)
    values, by_value = values.gather(1, by_column).sort(dim=1, descending=True, stable=True)
    column = column.gather(1, by_value)
    # If more scores tie with the last one, topk has returned arbitrary ones of them.
    tied = ((scores >= values[:, -1:]).sum(1) > k).nonzero().squeeze(1)
    if tied.numel():
        whole = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], column[tied] = whole.values[:, :k], whole.indices[:, :k]
    return values, column
