"""Triton implementation of :mod:`gnnrec.kernels.sums`.

Both directions gather: scattering reads lists sorted by column. So no two programs add to the same row, and sums are
deterministic. Chunks of long lists after the first are summed into extra rows, which a second kernel adds to the rows
of the lists. The columns of wide tables are divided among programs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import WIDEST, Reading, add_rows, column_blocks, own_chunk, read_by_column, tiles


def gather(tables: list[Tensor], lists: list[Tensor | None], weight: float, pair: bool = False) -> list[Tensor]:
    """See :func:`gnnrec.kernels.sums_reference.gather`."""
    pointer, entry, factor, row_scale = lists
    second = tables[1] if len(tables) > 1 else None
    return list_sums(Reading(pointer, entry, factor), tables[0], second, weight, pair, list_scale=row_scale)


def scatter(
    tables: list[Tensor],
    lists: list[Tensor | None],
    by_column: list[Tensor | None],
    weight: float,
    columns: int,
    pair: bool = False,
) -> list[Tensor]:
    """See :func:`gnnrec.kernels.sums_reference.scatter`."""
    second = tables[1] if len(tables) > 1 else None
    reading = read_by_column(*lists[:3], by_column, columns)
    return list_sums(reading, tables[0], second, weight, pair, entry_scale=lists[3])


def list_sums(
    reading: Reading,
    value: Tensor | None,
    second: Tensor | None,
    weight: float = 1.0,
    pair: bool = False,
    entry_scale: Tensor | None = None,
    list_scale: Tensor | None = None,
    factor_sums: bool = False,
) -> list[Tensor]:
    """Sums ``weight * value[entry] + factor * second[entry]`` over the entries of each list.

    With values only, and without ``pair``, values are scaled by the factor too.

    Args:
        reading: The lists.
        value: Float ``[rows, width]``, or None.
        second: Like ``value``, or None.
        weight: Factor of values.
        pair: Also return the sums of ``factor * value[entry]``.
        entry_scale: Factor of each table row, ``[rows]``.
        list_scale: Factor of the sums of each list, ``[lists]``.
        factor_sums: Also return the sums of the factors, ``[lists]``, unscaled.
    """
    table, lists, extras = value if value is not None else second, reading.lists, reading.extras
    dtype, width = torch.float64 if table.dtype == torch.float64 else torch.float32, table.shape[1]
    sums = [torch.empty(lists + extras, width, dtype=dtype, device=table.device) for _ in range(1 + pair)]
    totals = [torch.empty(lists + extras, dtype=dtype, device=table.device)] if factor_sums else []
    outs = sums[0], sums[1] if pair else None, totals[0] if factor_sums else None
    if lists and width:
        value, second = (
            source if source is None or source.stride(1) == 1 else source.contiguous() for source in (value, second)
        )
        strides = [0 if source is None else source.stride(0) for source in (value, second)]
        tile, blocks = tiles(min(width, WIDEST)), column_blocks(width)
        sizes = width, reading.chunk, *tile
        read = reading.pointer, reading.entry, reading.order, reading.factor, entry_scale, list_scale
        with torch.cuda.device_of(table):
            _add_chunks[(lists + extras, blocks)](
                value, second, *strides, *read, *outs, lists, extras, weight, *sizes, num_warps=1
            )
        add_extra_sums(reading, *outs)
    return [total[:lists] for total in sums + totals]


def add_extra_rows(sums: Tensor, reading: Reading) -> Tensor:
    """Adds the sums of chunks after the first to those of their lists, and returns the sums of lists.

    Args:
        sums: ``[lists + extra chunks, width]``; changed.
        reading: The lists.
    """
    return add_extra_sums(reading, sums)[0]


def add_extra_sums(
    reading: Reading, sums: Tensor, second: Tensor | None = None, narrow: Tensor | None = None
) -> list[Tensor]:
    """Does what :func:`add_extra_rows` does for a second table of the same width, and one with a number a list."""
    width, lists = sums.shape[1], reading.lists
    if lists and len(sums) > lists:
        tile = tiles(min(width, WIDEST))
        with torch.cuda.device_of(sums):
            _add_to_lists[(lists, column_blocks(width))](
                reading.pointer, sums, second, narrow, lists, width, reading.chunk, *tile, num_warps=1
            )
    return [total[:lists] for total in (sums, second, narrow) if total is not None]


@triton.jit(do_not_specialize=["lists", "extras"])
def _add_chunks(
    value,
    second,
    value_stride,
    second_stride,
    pointer,
    entry,
    order,
    factor,
    entry_scale,
    list_scale,
    out,
    scaled_out,
    factor_out,
    lists,
    extras,
    WEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    owner, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    dtype = out.dtype.element_ty
    block = tl.program_id(1)
    columns = block * COLUMNS + tl.arange(0, COLUMNS)
    # The rows of the tile are summed after the loop, in which each thread only adds what it reads.
    total = tl.zeros([ROWS, COLUMNS], dtype)
    if scaled_out is not None:
        scaled = tl.zeros([ROWS, COLUMNS], dtype)
    if factor_out is not None:
        factors = tl.zeros([ROWS], dtype)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        row = tl.load(entry + place, mask=inside, other=0).to(tl.int64)
        mask = inside[:, None] & (columns < WIDTH)[None, :]
        if factor is not None:
            at = place
            if order is not None:
                at = tl.load(order + place, mask=inside, other=0)
            ratio = tl.load(factor + at, mask=inside, other=0).to(dtype)
            if factor_out is not None:
                factors += ratio
        if entry_scale is not None:
            scale = tl.load(entry_scale + row, mask=inside, other=0).to(dtype)
        if value is not None:
            address = value + row[:, None] * value_stride + columns[None, :]
            read = tl.load(address, mask=mask, other=0).to(dtype)
            if entry_scale is not None:
                read = read * scale[:, None]
            if scaled_out is not None:
                scaled += ratio[:, None] * read
            elif second is None and factor is not None:
                read = ratio[:, None] * read
            total += WEIGHT * read
        if second is not None:
            if entry_scale is not None:
                ratio = ratio * scale
            address = second + row[:, None] * second_stride + columns[None, :]
            total += ratio[:, None] * tl.load(address, mask=mask, other=0).to(dtype)
    places = target * WIDTH + columns
    sums = tl.sum(total, 0)
    if list_scale is not None:
        outer = tl.load(list_scale + owner).to(dtype)
        sums = outer * sums
    tl.store(out + places, sums, mask=columns < WIDTH)
    if scaled_out is not None:
        sums = tl.sum(scaled, 0)
        if list_scale is not None:
            sums = outer * sums
        tl.store(scaled_out + places, sums, mask=columns < WIDTH)
    if factor_out is not None:
        tl.store(factor_out + target, tl.sum(factors, 0), mask=block == 0)


@triton.jit(do_not_specialize=["lists"])
def _add_to_lists(
    pointer,
    out,
    scaled_out,
    factor_out,
    lists,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    owner = tl.program_id(0).to(tl.int64)
    first = tl.load(pointer + owner) // CHUNK + lists
    last = tl.load(pointer + owner + 1) // CHUNK + lists
    block = tl.program_id(1)
    if first < last:
        add_rows(out, owner, first, last, block, WIDTH, ROWS, COLUMNS)
        if scaled_out is not None:
            add_rows(scaled_out, owner, first, last, block, WIDTH, ROWS, COLUMNS)
        if factor_out is not None:
            if block == 0:
                add_rows(factor_out, owner, first, last, 0, 1, ROWS, 1)
