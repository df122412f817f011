"""Compiled loops behind :mod:`gnnrec.kernels.pairs`."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.simd import add, load, multiply, scale, store, total, zeros
from gnnrec.kernels.sums_cpu import padded
from gnnrec.kernels.threads import array, pieces, run, shares, workers


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """The loops for tables whose number of columns is a multiple of ``lanes``."""

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
        gradient, rows, columns, pointer, entry, first, last, for_rows, for_columns, for_row_bias, for_column_bias
    ):
        for row in range(first, last):
            bias = gradient.dtype.type(0)
            for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                bias += gradient[edge]
                for_column_bias[entry[edge]] += gradient[edge]
            for_row_bias[row] = bias
            for tile in range(0, rows.shape[1], lanes):
                own, found = load(rows, row, tile, lanes), zeros(rows, lanes)
                for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                    column = np.uint32(entry[edge])
                    found = add(found, scale(gradient[edge], load(columns, column, tile, lanes)))
                    kept = load(for_columns, column, tile, lanes)
                    store(for_columns, column, tile, add(kept, scale(gradient[edge], own)))
                store(for_rows, row, tile, found)

    return SimpleNamespace(scores=scores, gradients=gradients)


def scores(
    rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, pointer: Tensor, entry: Tensor
) -> Tensor:
    """A score for each pair, ``[entries]``."""
    (rows, columns), _, lanes = padded([rows, columns])
    out, loop = rows.new_empty(entry.numel()), kernels(lanes).scores
    read = [array(each) for each in (rows, columns, row_bias, column_bias, pointer, entry)]
    run(lambda number, first, last: loop(*read, first, last, array(out)), shares(read[4], entry.numel()))
    return out


def gradients(
    gradient: Tensor, rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor, by_column: list[Tensor | None]
) -> list[Tensor]:
    """Of rows, columns, row biases and column biases. ``by_column`` is not used here."""
    (rows, columns), width, lanes = padded([rows, columns])
    ranges, loop = pieces(array(pointer), workers(entry.numel())), kernels(lanes).gradients
    for_rows, for_row_bias = torch.empty_like(rows), rows.new_empty(len(rows))
    for_columns = rows.new_zeros(len(ranges), *columns.shape)
    for_column_bias = rows.new_zeros(len(ranges), len(columns))
    read = [array(each) for each in (gradient, rows, columns, pointer, entry)]

    def work(number: int, first: int, last: int) -> None:
        tables = array(for_rows), array(for_columns)[number], array(for_row_bias), array(for_column_bias)[number]
        loop(*read, first, last, *tables)

    run(work, ranges)
    tables = for_rows[:, :width].contiguous(), for_columns.sum(0)[:, :width].contiguous()
    return [*tables, for_row_bias, for_column_bias.sum(0)]
