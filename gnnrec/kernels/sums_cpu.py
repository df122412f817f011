"""CPU implementation of :mod:`gnnrec.kernels.sums`.

All four loops read the lists in order. Gathering reads the rows of a list's entries and keeps the sum in registers;
scattering keeps the row of the list in registers and adds it to the rows of its entries. So neither direction needs
lists sorted by column. Each thread has a range of lists, and its own table if it scatters.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.simd import add, load, scale, store, zeros
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled, work_ranges


@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """Compiles the loops for tables whose number of columns is a multiple of ``lanes``."""

    @compiled
    def gather(value, second, pointer, entry, factor, weight, row_scale, first, last, out):
        for tile in range(0, out.shape[1], lanes):
            for row in range(first, last):
                plain, scaled = zeros(value, lanes), zeros(value, lanes)
                for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                    column = np.uint32(entry[edge])
                    read = load(value, column, tile, lanes)
                    if second is not None:
                        scaled = add(scaled, scale(factor[edge], load(second, column, tile, lanes)))
                    elif factor is not None:
                        read = scale(factor[edge], read)
                    plain = add(plain, read)
                total = add(scale(weight, plain), scaled)
                store(out, row, tile, total if row_scale is None else scale(row_scale[row], total))

    @compiled
    def gather_pair(gradient, pointer, entry, factor, weight, row_scale, first, last, out, second_out):
        for tile in range(0, out.shape[1], lanes):
            for row in range(first, last):
                plain, scaled = zeros(gradient, lanes), zeros(gradient, lanes)
                for edge in range(np.uint64(pointer[row]), np.uint64(pointer[row + 1])):
                    read = load(gradient, np.uint32(entry[edge]), tile, lanes)
                    plain = add(plain, read)
                    scaled = add(scaled, scale(factor[edge], read))
                if row_scale is not None:
                    plain, scaled = scale(row_scale[row], plain), scale(row_scale[row], scaled)
                store(out, row, tile, scale(weight, plain))
                store(second_out, row, tile, scaled)

    @compiled
    def scatter(value, second, pointer, entry, factor, weight, row_scale, first, last, out):
        for tile in range(0, out.shape[1], lanes):
            for row in range(first, last):
                begin, end = np.uint64(pointer[row]), np.uint64(pointer[row + 1])
                if begin == end:
                    continue
                plain = scale(weight, load(value, row, tile, lanes))
                if row_scale is not None:
                    plain = scale(row_scale[row], plain)
                if second is None:
                    for edge in range(begin, end):
                        column, sent = np.uint32(entry[edge]), plain
                        if factor is not None:
                            sent = scale(factor[edge], plain)
                        store(out, column, tile, add(load(out, column, tile, lanes), sent))
                    continue
                other = load(second, row, tile, lanes)
                if row_scale is not None:
                    other = scale(row_scale[row], other)
                for edge in range(begin, end):
                    column = np.uint32(entry[edge])
                    sent = add(plain, scale(factor[edge], other))
                    store(out, column, tile, add(load(out, column, tile, lanes), sent))

    @compiled
    def scatter_pair(gradient, pointer, entry, factor, weight, row_scale, first, last, out, second_out):
        for tile in range(0, out.shape[1], lanes):
            for row in range(first, last):
                begin, end = np.uint64(pointer[row]), np.uint64(pointer[row + 1])
                if begin == end:
                    continue
                read = load(gradient, row, tile, lanes)
                if row_scale is not None:
                    read = scale(row_scale[row], read)
                plain = scale(weight, read)
                for edge in range(begin, end):
                    column = np.uint32(entry[edge])
                    store(out, column, tile, add(load(out, column, tile, lanes), plain))
                    kept = load(second_out, column, tile, lanes)
                    store(second_out, column, tile, add(kept, scale(factor[edge], read)))

    return SimpleNamespace(gather=gather, gather_pair=gather_pair, scatter=scatter, scatter_pair=scatter_pair)


def gather(tables: list[Tensor], lists: list[Tensor | None], weight: float, pair: bool = False) -> list[Tensor]:
    """See :func:`gnnrec.kernels.sums_reference.gather`."""
    tables, width, lanes = padded(tables)
    arguments, dtype = _arguments(tables, lists, weight, pair), torch.promote_types(tables[0].dtype, torch.float32)
    outs = [torch.empty(len(lists[0]) - 1, tables[0].shape[1], dtype=dtype) for _ in range(1 + pair)]
    loop = kernels(lanes).gather_pair if pair else kernels(lanes).gather
    run_compiled(loop, work_ranges(array(lists[0]), len(lists[1])), arguments, outs)
    return [out[:, :width].contiguous() for out in outs]


def scatter(
    tables: list[Tensor],
    lists: list[Tensor | None],
    by_column: list[Tensor | None],
    weight: float,
    columns: int,
    pair: bool = False,
) -> list[Tensor]:
    """See :func:`gnnrec.kernels.sums_reference.scatter`. ``by_column`` is not used."""
    tables, width, lanes = padded(tables)
    arguments, dtype = _arguments(tables, lists, weight, pair), torch.promote_types(tables[0].dtype, torch.float32)
    ranges = balanced_ranges(array(lists[0]), num_workers(len(lists[1])))
    shape = len(ranges), columns, tables[0].shape[1]
    outs = [torch.zeros(shape, dtype=dtype) for _ in range(1 + pair)]
    loop = kernels(lanes).scatter_pair if pair else kernels(lanes).scatter
    run_compiled(loop, ranges, arguments, tables=outs)
    return [(out[0] if len(ranges) == 1 else out.sum(0))[:, :width].contiguous() for out in outs]


def _arguments(tables: list[Tensor], lists: list[Tensor | None], weight: float, pair: bool) -> list:
    pointer, entry, factor, row_scale = lists
    second = [] if pair else [tables[1] if len(tables) > 1 else None]
    return [tables[0], *second, pointer, entry, factor, weight, row_scale]


def padded(tables: list[Tensor]) -> tuple[list[Tensor], int, int]:
    """Pads tables to a width that the loops support; returns the tables, their original width, and the lanes."""
    width = tables[0].shape[1]
    step = 8 if width <= 64 else 32
    if width % step:
        tables = [torch.nn.functional.pad(table, (0, -width % step)) for table in tables]
    lanes = next(lanes for lanes in (64, 32, 16, 8) if tables[0].shape[1] % lanes == 0)
    # Rows may be strided, like the columns of one head in a wider table; columns may not.
    return [table if table.stride(1) == 1 else table.contiguous() for table in tables], width, lanes
