"""What :mod:`gnnrec.kernels.pairs` computes, in plain torch."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import sums_reference
from gnnrec.kernels.ragged import owners

#: Pairs whose rows are gathered at a time.
BLOCK = 1 << 20


def scores(
    rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, pointer: Tensor, entry: Tensor
) -> Tensor:
    """A score for each pair, ``[entries]``."""
    owner = owners(pointer)
    out = row_bias[owner] + column_bias[entry]
    for start in range(0, entry.numel(), BLOCK):
        chosen = slice(start, start + BLOCK)
        out[chosen] += (rows[owner[chosen]] * columns[entry[chosen]]).sum(1)
    return out


def gradients(
    gradient: Tensor, rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor, by_column: list[Tensor | None]
) -> list[Tensor]:
    """Of rows, columns, row biases and column biases."""
    lists = [pointer, entry, gradient, None]
    _, for_rows = sums_reference.gather([columns], lists, 1.0, pair=True)
    _, for_columns = sums_reference.scatter([rows], lists, by_column, 1.0, len(columns), pair=True)
    for_row_bias = gradient.new_zeros(len(rows)).index_add_(0, owners(pointer), gradient)
    for_column_bias = gradient.new_zeros(len(columns)).index_add_(0, entry, gradient)
    return [for_rows, for_columns, for_row_bias, for_column_bias]
