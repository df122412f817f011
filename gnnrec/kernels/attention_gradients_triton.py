"""Triton kernels of the gradients of :mod:`gnnrec.kernels.attention_triton`.

A program reads a chunk of the messages of one sender. For each edge it reads one wide row, the gradient of the
receiver's sums, which gives the gradients of the sender's rows and that of the logit. The latter are then summed over
receivers and rating levels.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gnnrec.kernels.attention_sums_triton import added, attention, by_kind, read_edges, sums_of_logits
from gnnrec.kernels.chunks_triton import own_chunk


@triton.jit(do_not_specialize=["lists", "extras", "logit_stride", "edge_stride"])
def gradients_of_chunks(
    grad_sums,
    grad_stride,
    grad_kinds,
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
    value_out,
    second_out,
    logit_out,
    edge_out,
    logit_stride,
    edge_stride,
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
):
    """Computes the gradients of a sender's rows, and of the logits of its edges before the leaky ReLU, for a chunk.

    The gradient of a logit is a sum over blocks of channels, of which each program stores a part.
    """
    owner, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    block = tl.program_id(1)
    dtype = value_out.dtype.element_ty
    leak = added(slope, slope_rest, dtype)
    ratio = added(inverse, inverse_rest, dtype)
    PARTS: tl.constexpr = (CHANNELS + TILE_CHANNELS - 1) // TILE_CHANNELS
    part = block % PARTS
    head = block // PARTS * TILE_HEADS + tl.arange(0, TILE_HEADS)
    channel = part * TILE_CHANNELS + tl.arange(0, TILE_CHANNELS)
    column = head[:, None] * CHANNELS + channel[None, :]
    in_row = (head < HEADS)[:, None] & (channel < CHANNELS)[None, :]
    own = tl.load(sender_logit + owner * HEADS + head, mask=head < HEADS, other=0)
    own_value = tl.load(value + owner * value_stride + column, mask=in_row, other=0).to(dtype)
    value_total = tl.zeros([ROWS, TILE_HEADS, TILE_CHANNELS], dtype)
    logit_total = tl.zeros([ROWS, TILE_HEADS], dtype)
    if second is not None:
        own_second = tl.load(second + owner * second_stride + column, mask=in_row, other=0).to(dtype)
        second_total = tl.zeros([ROWS, TILE_HEADS, TILE_CHANNELS], dtype)
    for start in range(begin, end, ROWS):
        inside, row, position, kind = read_edges(start + tl.arange(0, ROWS), end, entry, order, level)
        mask = inside[:, None] & (head < HEADS)[None, :]
        logit = sums_of_logits(own, receiver_logit, row, rating_logit, kind, head, mask, HEADS)
        cell = row[:, None] * HEADS + head[None, :]
        weight = attention(logit, leak, tl.load(shift + cell, mask=mask, other=0), mask)
        address = grad_sums + row[:, None, None] * grad_stride + column[None, :, :]
        gradient = tl.load(address, mask=inside[:, None, None] & in_row[None, :, :], other=0)
        value_total += weight[:, :, None] * gradient
        message = own_value[None, :, :]
        if second is not None:
            scale = tl.load(factor + position, mask=inside, other=0) * ratio
            second_total += (weight * scale[:, None])[:, :, None] * gradient
            message = message + scale[:, None, None] * own_second[None, :, :]
        change = tl.sum(gradient * message, 2)
        number = cell * KINDS
        if KINDS > 1:
            number += kind[:, None]
        change += tl.load(grad_kinds + number, mask=mask & (part == 0), other=0)
        change = change * weight * tl.where(logit > 0, 1, leak)
        logit_total += change
        if edge_out is not None:
            place = part.to(tl.int64) * edge_stride + position[:, None] * HEADS + head[None, :]
            tl.store(edge_out + place, change, mask=mask)
    places = target * (HEADS * CHANNELS) + column
    tl.store(value_out + places, tl.sum(value_total, 0), mask=in_row)
    if second is not None:
        tl.store(second_out + places, tl.sum(second_total, 0), mask=in_row)
    places = part.to(tl.int64) * logit_stride + target * HEADS + head
    tl.store(logit_out + places, tl.sum(logit_total, 0), mask=head < HEADS)


@triton.jit(do_not_specialize=["lists", "extras"])
def sum_chunks_of_edges(
    table,
    pointer,
    order,
    out,
    lists,
    extras,
    HEADS: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_HEADS: tl.constexpr,
):
    """Sums rows ``[heads]`` of edges over a chunk."""
    _, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    head = tl.program_id(1) * TILE_HEADS + tl.arange(0, TILE_HEADS)
    total = tl.zeros([ROWS, TILE_HEADS], out.dtype.element_ty)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        position = place
        if order is not None:
            position = tl.load(order + place, mask=place < end, other=0).to(tl.int64)
        mask = (place < end)[:, None] & (head < HEADS)[None, :]
        total += tl.load(table + position[:, None] * HEADS + head[None, :], mask=mask, other=0)
    tl.store(out + target * HEADS + head, tl.sum(total, 0), mask=head < HEADS)


@triton.jit(do_not_specialize=["edges"])
def sum_levels(
    table,
    level,
    out,
    edges,
    HEADS: tl.constexpr,
    LEVELS: tl.constexpr,
    SHARE: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_HEADS: tl.constexpr,
    TILE_LEVELS: tl.constexpr,
):
    """Sums rows ``[heads]`` of edges by level over each share of the edges, into ``[shares, levels, heads]``."""
    share, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    PARTS: tl.constexpr = (LEVELS + TILE_LEVELS - 1) // TILE_LEVELS
    head = block // PARTS * TILE_HEADS + tl.arange(0, TILE_HEADS)
    number = block % PARTS * TILE_LEVELS + tl.arange(0, TILE_LEVELS)
    total = tl.zeros([ROWS, TILE_HEADS, TILE_LEVELS], out.dtype.element_ty)
    begin = share * SHARE
    end = tl.minimum(begin + SHARE, edges)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        mask = (place < end)[:, None] & (head < HEADS)[None, :]
        kind = tl.load(level + place, mask=place < end, other=0).to(tl.int32)
        read = tl.load(table + place[:, None] * HEADS + head[None, :], mask=mask, other=0)
        total += by_kind(kind, number, read, LEVELS)
    cell = (share * LEVELS + number[None, :]) * HEADS + head[:, None]
    tl.store(out + cell, tl.sum(total, 0), mask=(head < HEADS)[:, None] & (number < LEVELS)[None, :])
