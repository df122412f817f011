"""Triton implementation of :mod:`gnnrec.kernels.fold_biases`.

A program computes all lanes of a user. Sums over movies read the edges in the static order by movie
(:mod:`gnnrec.kernels.edge_orders`), a chunk of a movie or of one of its time bins in each program, so that no two
programs add to the same row.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import Reading, own_chunk
from gnnrec.kernels.edges import Edges, TimeBins
from gnnrec.kernels.lanes_triton import carried, load_rows, tile_rows
from gnnrec.kernels.sums_triton import add_extra_rows
from gnnrec.kernels.temporal_biases_triton import lane_temporal_biases


def bias_sweep(
    edges: Edges,
    folds: range,
    movie_bias: Tensor,
    user_total: Tensor,
    user_degree: Tensor,
    shrinkage: float,
    sums: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.fold_biases.bias_sweep`."""
    users, lanes = user_total.shape
    movie_bias, user_total, user_degree = (table.contiguous() for table in (movie_bias, user_total, user_degree))
    bias, tile = torch.empty_like(user_total), (lanes, tile_rows(lanes, user_total.dtype))
    with torch.cuda.device_of(bias):
        if users:
            _user_biases[(users,)](
                edges.pointer,
                edges.movie,
                edges.fold,
                folds.start,
                movie_bias,
                user_total,
                user_degree,
                bias,
                shrinkage,
                *tile,
                num_warps=1,
            )
        if not sums:
            return bias, None
        order = edges.orders.by_movie
        reading = Reading(order.movie_pointer, order.user, None)
        lists, extras = reading.lists, reading.extras
        movie_sums = movie_bias.new_empty(lists + extras, lanes)
        _sum_raters[(lists + extras,)](
            order.movie_pointer,
            order.user,
            edges.fold_by_movie,
            folds.start,
            bias,
            movie_sums,
            lists,
            extras,
            reading.chunk,
            *tile,
            num_warps=1,
        )
        return bias, add_extra_rows(movie_sums, reading)


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """See :func:`gnnrec.kernels.fold_biases.year_sums`."""
    lanes, order = len(folds), edges.orders.by_movie
    if edges.movie.numel() == 0:
        return movie_bias.new_zeros(cells, 2, lanes)
    reading = Reading(order.cell_pointer, order.user, None)
    lists, extras = reading.lists, reading.extras
    sums = movie_bias.new_empty(lists + extras, 2 * lanes)
    with torch.cuda.device_of(sums):
        _sum_years[(lists + extras,)](
            order.cell_pointer,
            order.cell_movie,
            order.order,
            order.user,
            edges.fold_by_movie,
            folds.start,
            edges.rating,
            user_base.contiguous(),
            movie_bias.contiguous(),
            sums,
            lists,
            extras,
            reading.chunk,
            lanes,
            tile_rows(lanes, sums.dtype),
            num_warps=1,
        )
        return add_extra_rows(sums, reading).view(cells, 2, lanes)


def temporal_biases(
    edges: Edges,
    folds: range,
    num_targets: Tensor,
    target_ptr: list[int],
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor,
    windows: TimeBins,
    stages: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.fold_biases.temporal_biases`."""
    return lane_temporal_biases(
        edges, folds, num_targets, target_ptr[-1], user_base, movie_bias, years, windows, stages
    )


@triton.jit(do_not_specialize=["first_fold"])
def _user_biases(
    pointer,
    movie,
    fold,
    first_fold,
    movie_bias,
    user_total,
    user_degree,
    out,
    SHRINKAGE: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64)
    end = tl.load(pointer + user + 1)
    others = tl.zeros([ROWS, LANES], out.dtype.element_ty)
    for start in range(tl.load(pointer + user), end, ROWS):
        edge = start + tl.arange(0, ROWS)
        inside = edge < end
        kept = carried(fold, edge, inside, first_fold, LANES)
        others += load_rows(movie_bias, tl.load(movie + edge, mask=inside, other=0), kept, LANES)
    places = user * LANES + tl.arange(0, LANES)
    left = tl.load(user_total + places) - tl.sum(others, 0)
    tl.store(out + places, left / (tl.load(user_degree + places) + SHRINKAGE))


@triton.jit(do_not_specialize=["first_fold", "lists", "extras"])
def _sum_raters(
    pointer,
    user,
    fold,
    first_fold,
    user_bias,
    out,
    lists,
    extras,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    _, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    total = tl.zeros([ROWS, LANES], out.dtype.element_ty)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        kept = carried(fold, place, inside, first_fold, LANES)
        total += load_rows(user_bias, tl.load(user + place, mask=inside, other=0), kept, LANES)
    tl.store(out + target * LANES + tl.arange(0, LANES), tl.sum(total, 0))


@triton.jit(do_not_specialize=["first_fold", "lists", "extras"])
def _sum_years(
    pointer,
    cell_movie,
    order,
    user,
    fold,
    first_fold,
    rating,
    user_base,
    movie_bias,
    out,
    lists,
    extras,
    CHUNK: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    cell, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    lanes = tl.arange(0, LANES)
    bias = tl.load(movie_bias + tl.load(cell_movie + cell).to(tl.int64) * LANES + lanes)
    total = tl.zeros([ROWS, LANES], out.dtype.element_ty)
    count = tl.zeros([ROWS, LANES], out.dtype.element_ty)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        kept = carried(fold, place, inside, first_fold, LANES)
        base = load_rows(user_base, tl.load(user + place, mask=inside, other=0), kept, LANES)
        own = tl.load(rating + tl.load(order + place, mask=inside, other=0), mask=inside, other=0)
        total += tl.where(kept, own[:, None] - base - bias[None, :], 0)
        count += kept.to(count.dtype)
    places = target * 2 * LANES + lanes
    tl.store(out + places, tl.sum(total, 0))
    tl.store(out + places + LANES, tl.sum(count, 0))
