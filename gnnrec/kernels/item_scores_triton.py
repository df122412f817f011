"""Triton implementation of :mod:`gnnrec.kernels.item_scores`.

A program has a chunk of one user's movies, or of one movie's users, as in :mod:`gnnrec.kernels.sums_triton`. A BLAS
computes the products of whole tables.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import Reading, own_chunk, tiles
from gnnrec.kernels.sums_triton import add_extra_sums, list_sums

#: Columns of a program's tile; two tables are in registers.
_WIDEST = 128


def squared_loss(
    source: Tensor,
    target: Tensor,
    pointer: Tensor,
    entry: Tensor,
    by_column: tuple[Tensor, Tensor, Tensor],
    weights: tuple[Tensor, Tensor | None, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.item_scores.squared_loss`: the loss, and its derivatives by source and target."""
    sent, value, user_weight = weights
    source, target = source.contiguous(), target.contiguous()
    users, width = pointer.numel() - 1, source.shape[1]
    reading = Reading(pointer, entry, sent)
    (vectors,) = list_sums(reading, source, None)
    through = vectors @ (target.T @ target)
    if not users or not entry.numel():
        return source.new_zeros(()), torch.zeros_like(source), torch.zeros_like(target)
    by_dot, by_own = torch.empty_like(sent), torch.empty_like(sent)
    losses = sent.new_empty(users + reading.extras)
    sizes = width, reading.chunk, *_tiles(width)
    with torch.cuda.device_of(source):
        _losses[(len(losses),)](
            *(source, target, vectors, through, pointer, entry, sent, value, user_weight),
            *(losses, by_dot, by_own, users, reading.extras, *sizes),
            num_warps=1,
        )
    (by_vector,) = list_sums(Reading(pointer, entry, by_dot), target, None)
    by_vector = torch.addcmul(by_vector, through, user_weight[:, None], value=2)
    by_source, by_target, own = _by_movie(vectors, by_vector, by_column, sent, by_dot, by_own)
    by_source.addcmul_(own, target)
    by_target.addcmul_(own, source)
    by_target.addmm_(target, vectors.T @ (vectors * user_weight[:, None]), alpha=2)
    return losses.sum(), by_source, by_target


def _tiles(width: int) -> tuple[int, int]:
    """Returns the rows and columns that a program reads at a time."""
    rows, columns = tiles(min(width, _WIDEST))
    return max(1, rows // 2), columns


def _by_movie(
    vectors: Tensor,
    by_vector: Tensor,
    by_column: tuple[Tensor, Tensor, Tensor],
    sent: Tensor,
    by_dot: Tensor,
    by_own: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the users of each movie: ``sent * by_vector``, ``by_dot * vectors``, both wide, and ``by_own``."""
    column_pointer, row, order = by_column
    reading, width = Reading(column_pointer, row, None), vectors.shape[1]
    lists, extras = reading.lists, reading.extras
    by_source, by_target = (vectors.new_empty(lists + extras, width) for _ in range(2))
    own = vectors.new_empty(lists + extras, 1)
    sizes, blocks = (width, reading.chunk, *_tiles(width)), triton.cdiv(width, _tiles(width)[1])
    with torch.cuda.device_of(vectors):
        _sum_users[(lists + extras, blocks)](
            *(vectors, by_vector, column_pointer, row, order, sent, by_dot, by_own),
            *(by_source, by_target, own, lists, extras, *sizes),
            num_warps=1,
        )
    return add_extra_sums(reading, by_source, by_target, own)


@triton.jit(do_not_specialize=["lists", "extras"])
def _losses(
    source,
    target,
    vectors,
    through,
    pointer,
    entry,
    sent,
    value,
    user_weight,
    losses,
    by_dot,
    by_own,
    lists,
    extras,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    owner, begin, end, own = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    weight = tl.load(user_weight + owner)
    loss = tl.zeros([ROWS], losses.dtype.element_ty)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        movie = tl.load(entry + place, mask=inside, other=0).to(tl.int64)
        dot = tl.zeros([ROWS], losses.dtype.element_ty)
        alone = tl.zeros([ROWS], losses.dtype.element_ty)
        for first in tl.static_range(0, WIDTH, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            vector = tl.load(vectors + owner * WIDTH + column, mask=column < WIDTH, other=0)
            mask = inside[:, None] & (column < WIDTH)[None, :]
            read = tl.load(target + movie[:, None] * WIDTH + column[None, :], mask=mask, other=0)
            dot += tl.sum(read * vector[None, :], 1)
            alone += tl.sum(read * tl.load(source + movie[:, None] * WIDTH + column[None, :], mask=mask, other=0), 1)
        share = tl.load(sent + place, mask=inside, other=0)
        if value is None:
            wanted = inside.to(dot.dtype)
        else:
            wanted = tl.load(value + place, mask=inside, other=0)
        left = dot - alone * share - wanted
        tl.store(by_dot + place, 2 * weight * (left - dot), mask=inside)
        tl.store(by_own + place, -2 * weight * left * share, mask=inside)
        loss += left * left - dot * dot
    total = tl.sum(loss, 0)
    if own == owner:
        for first in tl.static_range(0, WIDTH, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            vector = tl.load(vectors + owner * WIDTH + column, mask=column < WIDTH, other=0)
            total += tl.sum(vector * tl.load(through + owner * WIDTH + column, mask=column < WIDTH, other=0), 0)
    tl.store(losses + own, weight * total)


@triton.jit(do_not_specialize=["lists", "extras"])
def _sum_users(
    vectors,
    by_vector,
    pointer,
    row,
    order,
    sent,
    by_dot,
    by_own,
    by_source,
    by_target,
    own,
    lists,
    extras,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    _, begin, end, out = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    block = tl.program_id(1)
    column = block * COLUMNS + tl.arange(0, COLUMNS)
    of_source = tl.zeros([ROWS, COLUMNS], by_source.dtype.element_ty)
    of_target = tl.zeros([ROWS, COLUMNS], by_source.dtype.element_ty)
    alone = tl.zeros([ROWS], by_source.dtype.element_ty)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        user = tl.load(row + place, mask=inside, other=0).to(tl.int64)
        at = tl.load(order + place, mask=inside, other=0)
        mask = inside[:, None] & (column < WIDTH)[None, :]
        address = user[:, None] * WIDTH + column[None, :]
        share = tl.load(sent + at, mask=inside, other=0)
        of_source += share[:, None] * tl.load(by_vector + address, mask=mask, other=0)
        slope = tl.load(by_dot + at, mask=inside, other=0)
        of_target += slope[:, None] * tl.load(vectors + address, mask=mask, other=0)
        alone += tl.load(by_own + at, mask=inside, other=0)
    place = out * WIDTH + column
    tl.store(by_source + place, tl.sum(of_source, 0), mask=column < WIDTH)
    tl.store(by_target + place, tl.sum(of_target, 0), mask=column < WIDTH)
    tl.store(own + out, tl.sum(alone, 0), mask=block == 0)
