"""Triton implementation of :mod:`gnnrec.kernels.attention`.

Shifts are given, so the sums over chunks of a receiver's messages only have to be added. Gradients read the same edges
sorted by sender. Nothing is added atomically: results are the same bits in every run.
"""

from __future__ import annotations

import struct

import torch
import triton
from torch import Tensor

from gnnrec.kernels.attention_gradients_triton import gradients_of_chunks, sum_chunks_of_edges, sum_levels
from gnnrec.kernels.attention_sums_triton import add_extras, largest_of_chunks, largest_of_lists, sum_chunks
from gnnrec.kernels.chunks_triton import WIDEST, Reading, read_by_column, tiles

#: 4-byte numbers of a program's tile: 32 per thread of a warp. Gradients hold more tiles in registers.
_HELD, _HELD_IN_GRADIENTS, _HELD_OF_LOGITS = 1024, 512, 256
#: Most edges of a tile.
_MOST_ROWS = 128
#: Edges whose gradients a program sums by rating level.
_SHARE = 4096


def largest(sender_logit: Tensor, rating_logit: Tensor | None, edges: tuple, to_users: bool) -> Tensor:
    """See :func:`gnnrec.kernels.attention_reference.largest`."""
    pointer, entry, level, by_column, columns = edges
    reading, heads = _sorted(pointer, entry, None, by_column, columns, to_users), sender_logit.shape[1]
    lists, extras = reading.lists, reading.extras
    out = sender_logit.new_empty(lists + extras, heads)
    rows, together, _ = tile = _tile(heads, 1, _HELD_OF_LOGITS)
    if lists:
        tables = _contiguous(sender_logit, rating_logit)
        read = reading.pointer, reading.entry, reading.order, None if rating_logit is None else level
        sizes, blocks = (heads, reading.chunk, rows, together), _blocks(heads, 1, tile)
        with torch.cuda.device_of(out):
            largest_of_chunks[(lists + extras, blocks)](*tables, *read, out, lists, extras, *sizes, num_warps=1)
            if extras:
                largest_of_lists[(lists, blocks)](reading.pointer, out, lists, *sizes, num_warps=1)
    return out[:lists]


def sums(tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool, kinds: int) -> list[Tensor]:
    """See :func:`gnnrec.kernels.attention_reference.sums`."""
    value, second, *logits = tables
    pointer, entry, factor, level, by_column, columns = edges
    reading = _sorted(pointer, entry, factor, by_column, columns, to_users)
    lists, extras = reading.lists, reading.extras
    heads, width = logits[0].shape[1], value.shape[1]
    out, kinds_out = (logits[0].new_empty(lists + extras, size) for size in (width, heads * kinds))
    if lists:
        held = _HELD * 4 // out.element_size()
        tile, kind_tile = _tile(heads, width // heads, held), _tile(heads, kinds, held)
        sizes = heads, width // heads, kinds, reading.chunk, *tile, *kind_tile
        blocks = _blocks(heads, width // heads, tile) + _blocks(heads, kinds, kind_tile)
        read = reading.pointer, reading.entry, reading.order, factor, level
        written = out, kinds_out, *_two_floats(slope), *_two_floats(1 / weight), lists, extras
        with torch.cuda.device_of(out):
            sum_chunks[(lists + extras, blocks)](
                *_rows(value, second), *_contiguous(*logits), *read, *written, *sizes, num_warps=1
            )
        _add(reading, out, None, kinds_out)
    return [out[:lists], kinds_out[:lists].view(lists, heads, kinds)]


def gradients(
    gradient: tuple[Tensor, Tensor], tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list[Tensor | None]:
    """See :func:`gnnrec.kernels.attention_reference.gradients`."""
    (grad_sums, grad_kinds), (value, second, *logits) = gradient, tables
    pointer, entry, factor, level, by_column, columns = edges
    by_sender = _sorted(pointer, entry, factor, by_column, columns, not to_users)
    lists, extras = by_sender.lists, by_sender.extras
    (heads, kinds), width = grad_kinds.shape[1:], value.shape[1]
    value_out = grad_sums.new_empty(lists + extras, width)
    second_out = None if second is None else torch.empty_like(value_out)
    tile = _tile(heads, width // heads, _HELD_IN_GRADIENTS * 4 // value_out.element_size())
    # Each block of a head's channels has a part of the gradients of logits.
    parts = _blocks(1, width // heads, tile)
    logit_out, edge_out = value_out.new_empty(parts, lists + extras, heads), None
    _, receiver_logit, rating_logit, _ = logits
    if receiver_logit is not None or rating_logit is not None:
        edge_out = value_out.new_empty(parts, entry.numel(), heads)
    if lists:
        (grad_sums, _, grad_stride, _), rows = _rows(grad_sums, None), _rows(value, second)
        read = by_sender.pointer, by_sender.entry, by_sender.order, factor, level
        strides = logit_out.stride(0), 0 if edge_out is None else edge_out.stride(0)
        options = *_two_floats(slope), *_two_floats(1 / weight), lists, extras
        sizes = heads, width // heads, kinds, by_sender.chunk, *tile
        with torch.cuda.device_of(value_out):
            gradients_of_chunks[(lists + extras, _blocks(heads, width // heads, tile))](
                *(grad_sums, grad_stride, grad_kinds.contiguous(), *rows, *_contiguous(*logits), *read),
                *(value_out, second_out, logit_out, edge_out, *strides, *options, *sizes),
                num_warps=1,
            )
    logit_out, edge_out = (
        some if some is None else some[0] if parts == 1 else some.sum(0) for some in (logit_out, edge_out)
    )
    _add(by_sender, value_out, second_out, logit_out)
    return [
        value_out[:lists],
        None if second is None else second_out[:lists],
        logit_out[:lists],
        None if receiver_logit is None else _by_receiver(edge_out, edges, to_users),
        None if rating_logit is None else _by_level(edge_out, level, len(rating_logit)),
    ]


def _by_receiver(edge_rows: Tensor, edges: tuple, to_users: bool) -> Tensor:
    """Sums rows of edges ``[edges, heads]`` over receivers."""
    pointer, entry, _, _, by_column, columns = edges
    reading, heads = _sorted(pointer, entry, None, by_column, columns, to_users), edge_rows.shape[1]
    lists, extras = reading.lists, reading.extras
    out = edge_rows.new_empty(lists + extras, heads)
    if lists:
        rows, together, _ = tile = _tile(heads, 1, _HELD_OF_LOGITS)
        read = reading.pointer, reading.order
        sizes = heads, reading.chunk, rows, together
        with torch.cuda.device_of(out):
            sum_chunks_of_edges[(lists + extras, _blocks(heads, 1, tile))](
                edge_rows, *read, out, lists, extras, *sizes, num_warps=1
            )
        _add(reading, None, None, out)
    return out[:lists]


def _by_level(edge_rows: Tensor, level: Tensor, levels: int) -> Tensor:
    """Sums rows of edges ``[edges, heads]`` by level."""
    edges, heads = edge_rows.shape
    shares = triton.cdiv(edges, _SHARE)
    out = edge_rows.new_empty(shares, levels, heads)
    if shares:
        tile = _tile(heads, levels, _HELD * 4 // out.element_size())
        with torch.cuda.device_of(out):
            sum_levels[(shares, _blocks(heads, levels, tile))](
                edge_rows, level, out, edges, heads, levels, _SHARE, *tile, num_warps=1
            )
    return out.sum(0)


def _sorted(
    pointer: Tensor, entry: Tensor, factor: Tensor | None, by_column: tuple, columns: int, by_list: bool
) -> Reading:
    """Returns the edges sorted by list or by column."""
    if by_list:
        return Reading(pointer, entry, factor)
    return read_by_column(pointer, entry, factor, by_column, columns)


def _add(reading: Reading, wide: Tensor | None, second: Tensor | None, narrow: Tensor) -> None:
    """Adds the rows of extra chunks to those of their lists."""
    if reading.extras and reading.lists:
        widths = 0 if wide is None else wide.shape[1], narrow.shape[1]
        tile = tiles(min(max(widths), WIDEST))
        blocks = sum(triton.cdiv(width, tile[1]) for width in widths)
        with torch.cuda.device_of(narrow):
            add_extras[(reading.lists, blocks)](
                reading.pointer, wide, second, narrow, reading.lists, *widths, reading.chunk, *tile, num_warps=1
            )


def _tile(heads: int, columns: int, held: int) -> tuple[int, int, int]:
    """Returns the edges, heads and columns of a head that a program reads at a time, powers of two."""
    across = min(triton.next_power_of_2(columns), WIDEST)
    together = min(triton.next_power_of_2(heads), WIDEST // across)
    return min(max(held // (together * across), 1), _MOST_ROWS), together, across


def _blocks(heads: int, columns: int, tile: tuple[int, int, int]) -> int:
    """Returns the number of programs that share the heads and columns of a chunk."""
    return triton.cdiv(heads, tile[1]) * triton.cdiv(columns, tile[2])


def _rows(value: Tensor, second: Tensor | None) -> tuple:
    """Returns tables whose columns are consecutive, and the strides of their rows."""
    tables = [table if table is None or table.stride(1) == 1 else table.contiguous() for table in (value, second)]
    return *tables, *[0 if table is None else table.stride(0) for table in tables]


def _contiguous(*tables: Tensor | None) -> list[Tensor | None]:
    return [None if table is None else table.contiguous() for table in tables]


def _two_floats(number: float) -> tuple[float, float]:
    """Splits a number into the nearest float32 and the rest, because Triton passes numbers in single precision."""
    (high,) = struct.unpack("f", struct.pack("f", number))
    return high, number - high
