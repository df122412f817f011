"""CPU implementation of :mod:`gnnrec.kernels.pairs`."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.simd import add, load, multiply, scale, store, total, zeros
from gnnrec.kernels.sums_cpu import padded
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled, work_ranges


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """Compiles the loops for tables whose number of columns is a multiple of ``lanes``."""

    @compiled
    def scores(rows, columns, row_bias, column_bias, pointer, entry, first, last, out):
        for row in range(first, last):
            for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                column, dot = np.uint32(entry[edge]), zeros(rows, lanes)
                for tile in range(0, rows.shape[1], lanes):
                    dot = add(dot, multiply(load(rows, row, tile, lanes), load(columns, column, tile, lanes)))
                out[edge] = total(dot) + row_bias[row] + column_bias[column]

    @compiled
    def gradients(
        gradient, rows, columns, pointer, entry, first, last, grad_rows, grad_row_bias, grad_columns, grad_column_bias
    ):
        for row in range(first, last):
            bias = gradient.dtype.type(0)
            for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                bias += gradient[edge]
                grad_column_bias[entry[edge]] += gradient[edge]
            grad_row_bias[row] = bias
            for tile in range(0, rows.shape[1], lanes):
                own, grad_own = load(rows, row, tile, lanes), zeros(rows, lanes)
                for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                    column = np.uint32(entry[edge])
                    grad_own = add(grad_own, scale(gradient[edge], load(columns, column, tile, lanes)))
                    kept = load(grad_columns, column, tile, lanes)
                    store(grad_columns, column, tile, add(kept, scale(gradient[edge], own)))
                store(grad_rows, row, tile, grad_own)

    return SimpleNamespace(scores=scores, gradients=gradients)


def scores(
    rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, pointer: Tensor, entry: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.pairs.pair_scores`."""
    (rows, columns), _, lanes = padded([rows, columns])
    out, loop = rows.new_empty(entry.numel()), kernels(lanes).scores
    read = rows, columns, row_bias, column_bias, pointer, entry
    run_compiled(loop, work_ranges(array(pointer), entry.numel()), read, [out])
    return out


def gradients(
    gradient: Tensor, rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor, by_column: list[Tensor | None]
) -> list[Tensor]:
    """Computes the gradients of rows, columns, row biases and column biases. ``by_column`` is not used."""
    (rows, columns), width, lanes = padded([rows, columns])
    ranges, loop = balanced_ranges(array(pointer), num_workers(entry.numel())), kernels(lanes).gradients
    grad_rows, grad_row_bias = torch.empty_like(rows), rows.new_empty(len(rows))
    grad_columns = rows.new_zeros(len(ranges), *columns.shape)
    grad_column_bias = rows.new_zeros(len(ranges), len(columns))
    read = gradient, rows, columns, pointer, entry
    run_compiled(loop, ranges, read, [grad_rows, grad_row_bias], [grad_columns, grad_column_bias])
    tables = grad_rows[:, :width].contiguous(), grad_columns.sum(0)[:, :width].contiguous()
    return [*tables, grad_row_bias, grad_column_bias.sum(0)]
