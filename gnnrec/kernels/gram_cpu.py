"""CPU implementation of :mod:`gnnrec.kernels.gram`.

One row of sums at a time: for each list with this column, the entries from this one on add to a row that stays in the
cache. So every pair is visited once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.threads import num_workers, run_compiled

#: Columns that a thread takes at a time. Their cost differs much, since columns differ in length.
_COLUMNS = 16


@compiled
def _pair_sums(pointer, entry, factor, weight, column_pointer, owner, order, offset, first, last, out):
    for column in range(first, last):
        sums = out[column - offset]
        for place in range(column_pointer[column], column_pointer[column + 1]):
            row = owner[place]
            added = 1.0 if weight is None else weight[row]
            if factor is None:
                for edge in range(order[place], pointer[row + 1]):
                    sums[entry[edge] - offset] += added
            else:
                added *= factor[order[place]]
                for edge in range(order[place], pointer[row + 1]):
                    sums[entry[edge] - offset] += added * factor[edge]


def pair_sums(lists: CSRLists, weight: Tensor | None, first: int, last: int) -> Tensor:
    """See :func:`gnnrec.kernels.gram.pair_sums`."""
    out = torch.zeros(last - first, lists.columns - first, dtype=torch.float64)
    step = _COLUMNS if num_workers(lists.entry.numel()) > 1 else max(last - first, 1)
    ranges = [(start, min(start + step, last)) for start in range(first, last, step)]
    read = lists.pointer, lists.entry, lists.factor, weight, *lists.by_column, first
    if ranges:
        run_compiled(_pair_sums, ranges, read, (out,))
    return out
