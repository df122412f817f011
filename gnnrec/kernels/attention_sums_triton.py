"""Triton kernels of the sums of :mod:`gnnrec.kernels.attention_triton`.

A program reads a chunk of the messages of one receiver, in tiles of edges x heads x channels. The logits of a tile are
computed from those of its senders, receiver and rating levels: no tensor of edges is stored.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gnnrec.kernels.chunks_triton import add_rows, own_chunk


@triton.jit
def read_edges(place, end, entry, order, level):
    """Returns which places are in the chunk, the other ends of their edges, their positions in the lists and levels."""
    inside = place < end
    row = tl.load(entry + place, mask=inside, other=0).to(tl.int64)
    position = place
    if order is not None:
        position = tl.load(order + place, mask=inside, other=0).to(tl.int64)
    kind = row.to(tl.int32) * 0
    if level is not None:
        kind = tl.load(level + position, mask=inside, other=0).to(tl.int32)
    return inside, row, position, kind


@triton.jit
def added(number, rest, dtype: tl.constexpr):
    """Returns the sum of two numbers that are passed in single precision."""
    return tl.full([], number, dtype) + tl.full([], rest, dtype)


@triton.jit
def sums_of_logits(own, table, row, rating_logit, kind, head, mask, HEADS: tl.constexpr):
    """Returns the logits of edges before the leaky ReLU, ``[edges, heads]``, zero outside of the mask."""
    logit = tl.where(mask, own[None, :], 0)
    if table is not None:
        logit += tl.load(table + row[:, None] * HEADS + head[None, :], mask=mask, other=0)
    if rating_logit is not None:
        logit += tl.load(rating_logit + kind[:, None] * HEADS + head[None, :], mask=mask, other=0)
    return logit


@triton.jit
def attention(logit, leak, shift, mask):
    """Returns ``exp(leaky_relu(logit) - shift)``, zero outside of the mask."""
    return tl.where(mask, tl.exp(tl.where(logit > 0, logit, leak * logit) - shift), 0)


@triton.jit
def by_kind(kind, number, amount, KINDS: tl.constexpr):
    """Sorts amounts ``[edges, heads]`` by the kind of their edge into ``[edges, heads, kinds]``."""
    if KINDS == 1:
        return amount[:, :, None]
    return tl.where(kind[:, None, None] == number[None, None, :], amount[:, :, None], 0)


@triton.jit(do_not_specialize=["lists", "extras"])
def largest_of_chunks(
    sender_logit,
    rating_logit,
    pointer,
    entry,
    order,
    level,
    out,
    lists,
    extras,
    HEADS: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_HEADS: tl.constexpr,
):
    _, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
    largest = tl.full([ROWS, TILE_HEADS], float("-inf"), out.dtype.element_ty)
    for start in range(begin, end, ROWS):
        inside, row, _position, kind = read_edges(start + tl.arange(0, ROWS), end, entry, order, level)
        mask = inside[:, None] & (head < HEADS)[None, :]
        nothing = tl.zeros([TILE_HEADS], out.dtype.element_ty)
        logit = sums_of_logits(nothing, sender_logit, row, rating_logit, kind, head, mask, HEADS)
        largest = tl.maximum(largest, tl.where(mask, logit, float("-inf")))
    tl.store(out + target * HEADS + head, tl.max(largest, 0), mask=head < HEADS)


@triton.jit(do_not_specialize=["lists"])
def largest_of_lists(
    pointer, out, lists, HEADS: tl.constexpr, CHUNK: tl.constexpr, ROWS: tl.constexpr, TILE_HEADS: tl.constexpr
):
    owner = tl.program_id(0).to(tl.int64)
    first = tl.load(pointer + owner) // CHUNK + lists
    last = tl.load(pointer + owner + 1) // CHUNK + lists
    if first < last:
        head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
        largest = tl.full([ROWS, TILE_HEADS], float("-inf"), out.dtype.element_ty)
        for start in range(first, last, ROWS):
            row = start + tl.arange(0, ROWS)
            mask = (row < last)[:, None] & (head < HEADS)[None, :]
            read = tl.load(out + row[:, None] * HEADS + head[None, :], mask=mask, other=float("-inf"))
            largest = tl.maximum(largest, read)
        address = out + owner * HEADS + head
        kept = tl.load(address, mask=head < HEADS, other=0)
        tl.store(address, tl.maximum(kept, tl.max(largest, 0)), mask=head < HEADS)


@triton.jit(do_not_specialize=["lists", "extras"])
def sum_chunks(
    value,
    second,
    value_stride,
    second_stride,
    sender_logit,
    receiver_logit,
    rating_logit,
    shift,
    pointer,
    entry,
    order,
    factor,
    level,
    out,
    kinds_out,
    slope,
    slope_rest,
    inverse,
    inverse_rest,
    lists,
    extras,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    KINDS: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_HEADS: tl.constexpr,
    TILE_CHANNELS: tl.constexpr,
    KIND_ROWS: tl.constexpr,
    KIND_HEADS: tl.constexpr,
    TILE_KINDS: tl.constexpr,
):
    """Sums the messages of a chunk, or in the last blocks its attention by kind, for one block of heads and columns."""
    owner, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    block = tl.program_id(1)
    dtype = out.dtype.element_ty
    leak = added(slope, slope_rest, dtype)
    PARTS: tl.constexpr = (CHANNELS + TILE_CHANNELS - 1) // TILE_CHANNELS
    BLOCKS: tl.constexpr = (HEADS + TILE_HEADS - 1) // TILE_HEADS * PARTS
    if block < BLOCKS:
        ratio = added(inverse, inverse_rest, dtype)
        head = block // PARTS * TILE_HEADS + tl.arange(0, TILE_HEADS)
        channel = block % PARTS * TILE_CHANNELS + tl.arange(0, TILE_CHANNELS)
        column = head[:, None] * CHANNELS + channel[None, :]
        in_row = (head < HEADS)[:, None] & (channel < CHANNELS)[None, :]
        own = tl.zeros([TILE_HEADS], dtype)
        if receiver_logit is not None:
            own = tl.load(receiver_logit + owner * HEADS + head, mask=head < HEADS, other=0)
        peak = tl.load(shift + owner * HEADS + head, mask=head < HEADS, other=0)
        total = tl.zeros([ROWS, TILE_HEADS, TILE_CHANNELS], dtype)
        for start in range(begin, end, ROWS):
            inside, row, position, kind = read_edges(start + tl.arange(0, ROWS), end, entry, order, level)
            mask = inside[:, None] & (head < HEADS)[None, :]
            logit = sums_of_logits(own, sender_logit, row, rating_logit, kind, head, mask, HEADS)
            weight = attention(logit, leak, peak[None, :], mask)
            cells = inside[:, None, None] & in_row[None, :, :]
            address = value + row[:, None, None] * value_stride + column[None, :, :]
            message = tl.load(address, mask=cells, other=0).to(dtype)
            if second is not None:
                scale = tl.load(factor + position, mask=inside, other=0) * ratio
                address = second + row[:, None, None] * second_stride + column[None, :, :]
                message += scale[:, None, None] * tl.load(address, mask=cells, other=0).to(dtype)
            total += weight[:, :, None] * message
        tl.store(out + target * (HEADS * CHANNELS) + column, tl.sum(total, 0), mask=in_row)
    else:
        # Names are not those of the other branch, whose tiles have other shapes.
        KIND_PARTS: tl.constexpr = (KINDS + TILE_KINDS - 1) // TILE_KINDS
        of_head = (block - BLOCKS) // KIND_PARTS * KIND_HEADS + tl.arange(0, KIND_HEADS)
        number = (block - BLOCKS) % KIND_PARTS * TILE_KINDS + tl.arange(0, TILE_KINDS)
        logit_of_list = tl.zeros([KIND_HEADS], dtype)
        if receiver_logit is not None:
            logit_of_list = tl.load(receiver_logit + owner * HEADS + of_head, mask=of_head < HEADS, other=0)
        shift_of_list = tl.load(shift + owner * HEADS + of_head, mask=of_head < HEADS, other=0)
        by_number = tl.zeros([KIND_ROWS, KIND_HEADS, TILE_KINDS], dtype)
        for start in range(begin, end, KIND_ROWS):
            inside, row, _position, kind = read_edges(start + tl.arange(0, KIND_ROWS), end, entry, order, level)
            mask = inside[:, None] & (of_head < HEADS)[None, :]
            logit = sums_of_logits(logit_of_list, sender_logit, row, rating_logit, kind, of_head, mask, HEADS)
            by_number += by_kind(kind, number, attention(logit, leak, shift_of_list[None, :], mask), KINDS)
        cell = target * (HEADS * KINDS) + of_head[:, None] * KINDS + number[None, :]
        in_cells = (of_head < HEADS)[:, None] & (number < KINDS)[None, :]
        tl.store(kinds_out + cell, tl.sum(by_number, 0), mask=in_cells)


@triton.jit(do_not_specialize=["lists"])
def add_extras(
    pointer,
    wide,
    second,
    narrow,
    lists,
    WIDE: tl.constexpr,
    NARROW: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Adds the rows of extra chunks to those of their lists, in up to three tables; the first blocks have wide rows."""
    owner = tl.program_id(0).to(tl.int64)
    first = tl.load(pointer + owner) // CHUNK + lists
    last = tl.load(pointer + owner + 1) // CHUNK + lists
    block = tl.program_id(1)
    BLOCKS: tl.constexpr = (WIDE + COLUMNS - 1) // COLUMNS
    if first < last:
        if block >= BLOCKS:
            add_rows(narrow, owner, first, last, block - BLOCKS, NARROW, ROWS, COLUMNS)
        elif wide is not None:
            add_rows(wide, owner, first, last, block, WIDE, ROWS, COLUMNS)
            if second is not None:
                add_rows(second, owner, first, last, block, WIDE, ROWS, COLUMNS)
