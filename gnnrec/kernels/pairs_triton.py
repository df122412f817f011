"""Triton implementation of :mod:`gnnrec.kernels.pairs`.

A program scores a chunk of one list and reads its row once. Gradients are sums over lists with the gradient of each
pair as its factor: over the lists for rows, over the lists sorted by column for columns.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import Reading, own_chunk, read_by_column, tiles
from gnnrec.kernels.sums_triton import list_sums


def scores(
    rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, pointer: Tensor, entry: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.pairs.pair_scores`."""
    out, reading = rows.new_empty(entry.numel()), Reading(pointer, entry, None)
    if reading.lists == 0 or entry.numel() == 0:
        return out
    rows, columns = (table if table.stride(1) == 1 else table.contiguous() for table in (rows, columns))
    biases = row_bias.contiguous(), column_bias.contiguous()
    lists, extras, width = reading.lists, reading.extras, rows.shape[1]
    strides = rows.stride(0), columns.stride(0)
    with torch.cuda.device_of(rows):
        _scores[(lists + extras,)](
            rows,
            columns,
            *strides,
            *biases,
            pointer,
            entry,
            out,
            lists,
            extras,
            width,
            reading.chunk,
            *tiles(width),
            num_warps=1,
        )
    return out


def gradients(
    gradient: Tensor, rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor, by_column: list[Tensor | None]
) -> list[Tensor]:
    """Computes the gradients of rows, columns, row biases and column biases."""
    sorted_pairs = read_by_column(pointer, entry, gradient, by_column, len(columns))
    grad_rows, grad_row_bias = list_sums(Reading(pointer, entry, gradient), None, columns, factor_sums=True)
    grad_columns, grad_column_bias = list_sums(sorted_pairs, None, rows, factor_sums=True)
    return [grad_rows, grad_columns, grad_row_bias, grad_column_bias]


@triton.jit(do_not_specialize=["lists", "extras"])
def _scores(
    rows,
    columns,
    row_stride,
    column_stride,
    row_bias,
    column_bias,
    pointer,
    entry,
    out,
    lists,
    extras,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    owner, begin, end, _ = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    across = tl.arange(0, COLUMNS)
    own = tl.load(rows + owner * row_stride + across, mask=across < WIDTH, other=0)
    bias = tl.load(row_bias + owner)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        column = tl.load(entry + place, mask=inside, other=0).to(tl.int64)
        mask = inside[:, None] & (across < WIDTH)[None, :]
        read = tl.load(columns + column[:, None] * column_stride + across[None, :], mask=mask, other=0)
        dot = tl.sum(read * own[None, :], 1)
        tl.store(out + place, dot + bias + tl.load(column_bias + column, mask=inside, other=0), mask=inside)
