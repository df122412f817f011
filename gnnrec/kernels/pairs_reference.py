"""Reference implementation of :mod:`gnnrec.kernels.pairs` in plain torch."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import sums_reference
from gnnrec.kernels.ragged import owners

#: Pairs whose rows are gathered at a time.
BLOCK = 1 << 20


def scores(
    rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, pointer: Tensor, entry: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.pairs.pair_scores`."""
    owner = owners(pointer, entries=entry.numel())
    out = row_bias[owner] + column_bias[entry]
    for start in range(0, entry.numel(), BLOCK):
        block = slice(start, start + BLOCK)
        out[block] += (rows[owner[block]] * columns[entry[block]]).sum(1)
    return out


def gradients(
    gradient: Tensor, rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor, by_column: list[Tensor | None]
) -> list[Tensor]:
    """Computes the gradients of rows, columns, row biases and column biases."""
    lists = [pointer, entry, gradient, None]
    _, grad_rows = sums_reference.gather([columns], lists, 1.0, pair=True)
    _, grad_columns = sums_reference.scatter([rows], lists, by_column, 1.0, len(columns), pair=True)
    grad_row_bias = gradient.new_zeros(len(rows)).index_add_(0, owners(pointer, entries=entry.numel()), gradient)
    grad_column_bias = gradient.new_zeros(len(columns)).index_add_(0, entry, gradient)
    return [grad_rows, grad_columns, grad_row_bias, grad_column_bias]
