"""Triton kernels for temporal biases in several lanes (:func:`gnnrec.kernels.fold_biases.temporal_biases`).

One kernel for each window of users sums the residuals that the biases before it leave in each half-width bin of a user.
The last kernel reads these sums for the edges of the folds, each in the lane of its own fold only. A user's bins are
rows of a table in the order of time; there are at most as many as edges, so rows are numbered like edges.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.edges import Edges, TimeBins
from gnnrec.kernels.lanes_triton import carried, load_rows, tile_rows
from gnnrec.kernels.ragged import offsets

#: Most bytes of the tables of sums; users are processed in blocks. A user whose own are larger is a block alone.
TABLE_BYTES = 1 << 30


def lane_temporal_biases(
    edges: Edges,
    folds: range,
    num_targets: Tensor,
    targets: int,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor,
    windows: TimeBins,
    stages: bool,
) -> tuple[Tensor, Tensor | None]:
    """Computes the temporal biases of ``targets`` edges; see :func:`gnnrec.kernels.fold_biases.temporal_biases`."""
    rating, lanes, kinds = edges.rating, len(folds), len(windows.user_half_widths)
    biases = rating.new_empty(targets, 1 + kinds)
    before = rating.new_empty(kinds, rating.numel()) if stages else None
    if rating.numel() == 0 or not (targets or stages):
        return biases, before
    blocks = edges.orders.user_blocks(TABLE_BYTES // (kinds * 2 * lanes * rating.element_size()))
    rows = 1 + max(len(part) for _, part in blocks)
    tables = rating.new_empty(kinds, rows, 2 * lanes)
    follows = torch.empty(kinds, rows, dtype=torch.uint8, device=rating.device)
    target_start = offsets(num_targets.flatten())
    tables_of = user_base.contiguous(), movie_bias.contiguous(), years.contiguous()
    shrinkages = windows.user_shrinkages, windows.movie_shrinkage
    of_edges = edges.pointer, edges.movie, edges.rating, edges.bins.cell, edges.bins.steps, edges.fold, folds.start
    with torch.cuda.device_of(rating):
        for users, part in blocks:
            if not part:
                continue
            block = users.start, part.start, part.stop, rows
            for window in range(kinds):
                _sum_bins[(len(users),)](
                    *of_edges,
                    *tables_of,
                    tables,
                    follows,
                    *block,
                    before if before is None else before[window],
                    window,
                    *shrinkages,
                    lanes,
                    tile_rows(lanes, rating.dtype, 2),
                    num_warps=1,
                )
            if targets:
                _target_biases[(len(users),)](
                    *of_edges[:1],
                    *of_edges[3:],
                    tables_of[2],
                    tables,
                    follows,
                    *block,
                    target_start,
                    edges.pointer.numel() - 1,
                    biases,
                    kinds,
                    *shrinkages,
                    lanes,
                    tile_rows(lanes, rating.dtype),
                    num_warps=1,
                )
    return biases, before


@triton.jit
def _add_within_bin(start, total, count, later_start, later_total, later_count):
    """Combines running sums and counts; a start of a bin at the later edge drops the earlier ones."""
    total = tl.where(later_start != 0, later_total, total + later_total)
    count = tl.where(later_start != 0, later_count, count + later_count)
    return start | later_start, total, count


@triton.jit
def _starts(step):
    """Returns which edges start a bin, in each of four windows, int32 ``[edges, 4]``."""
    return (step[:, None] >> (2 * tl.arange(0, 4))[None, :]) & 1


@triton.jit
def _column(numbers, WINDOW: tl.constexpr):
    """Selects a window's column of ``numbers`` ``[edges, 4]``."""
    return tl.sum(tl.where((tl.arange(0, 4) == WINDOW)[None, :], numbers, 0), 1)


@triton.jit
def _sum_both_bins(address, mask, before, after, WIDTH: tl.constexpr):
    """Sums over both bins of half-width bins; ``before`` and ``after``: adjacent ones exist."""
    here = tl.load(address, mask=mask, other=0)
    return 2 * here + tl.load(address - WIDTH, mask=before, other=0) + tl.load(address + WIDTH, mask=after, other=0)


@triton.jit(do_not_specialize=["first_fold", "first_user", "first_edge", "last_edge", "rows"])
def _sum_bins(
    pointer,
    movie,
    rating,
    cell,
    steps,
    fold,
    first_fold,
    user_base,
    movie_bias,
    years,
    tables,
    follows,
    first_user,
    first_edge,
    last_edge,
    rows,
    stage,
    WINDOW: tl.constexpr,
    SHRINKAGES: tl.constexpr,
    MOVIE_SHRINKAGE: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64) + first_user
    begin = tl.load(pointer + user)
    end = tl.load(pointer + user + 1)
    lanes = tl.arange(0, LANES)
    base = tl.load(user_base + user * LANES + lanes)
    first_row = begin - first_edge
    table_size = rows.to(tl.int64) * 2 * LANES
    bins = tl.zeros([4], tl.int32)
    # Sums of the last bin of the tiles before.
    total_before = tl.zeros([LANES], base.dtype)
    count_before = tl.zeros([LANES], base.dtype)
    for start in range(begin, end, ROWS):
        edge = start + tl.arange(0, ROWS)
        inside = edge < end
        kept = carried(fold, edge, inside, first_fold, LANES)
        # A rating is excluded from its own temporal bias, in which it counts twice.
        own = 2 * kept.to(base.dtype)
        across = inside[:, None] & (lanes >= 0)[None, :]
        bias = load_rows(movie_bias, tl.load(movie + edge, mask=inside, other=0), across, LANES)
        left = tl.load(rating + edge, mask=inside, other=0)[:, None] - base[None, :] - bias
        year = 2 * tl.load(cell + edge, mask=inside, other=0).to(tl.int64)
        total = load_rows(years, year, across, LANES)
        count = load_rows(years, year + 1, across, LANES)
        left -= (total - own * left) / (count + MOVIE_SHRINKAGE - own)
        step = tl.load(steps + edge, mask=inside, other=0).to(tl.int32)
        starts = _starts(step)
        numbers = first_row + bins[None, :] + tl.cumsum(starts, 0) - 1
        bins += tl.sum(starts, 0)
        for window in tl.static_range(WINDOW):
            row = _column(numbers, window)
            before = (tl.load(follows + window * rows + row, mask=inside, other=0) != 0)[:, None] & across
            after = (tl.load(follows + window * rows + row + 1, mask=inside, other=0) != 0)[:, None] & across
            address = tables + window * table_size + row[:, None] * (2 * LANES) + lanes[None, :]
            total = _sum_both_bins(address, across, before, after, 2 * LANES)
            count = _sum_both_bins(address + LANES, across, before, after, 2 * LANES)
            left -= (total - own * left) / (count + SHRINKAGES[window] - own)
        if stage is not None:
            tl.store(stage + edge[:, None] + lanes[None, :], left, mask=across)
        begins = (step >> (2 * WINDOW)) & 1
        flags = begins[:, None] + lanes[None, :] * 0
        flags, total, count = tl.associative_scan(
            (flags, tl.where(kept, left, 0), kept.to(base.dtype)), 0, _add_within_bin
        )
        total += tl.where(flags == 0, total_before[None, :], 0)
        count += tl.where(flags == 0, count_before[None, :], 0)
        later = tl.load(steps + edge + 1, mask=edge + 1 < end, other=255).to(tl.int32)
        complete = inside & (((later >> (2 * WINDOW)) & 1) != 0)
        row = _column(numbers, WINDOW)
        address = tables + WINDOW * table_size + row[:, None] * (2 * LANES) + lanes[None, :]
        tl.store(address, total, mask=complete[:, None] & across)
        tl.store(address + LANES, count, mask=complete[:, None] & across)
        adjacent = (step >> (2 * WINDOW + 1)) & 1
        tl.store(follows + WINDOW * rows + row, adjacent.to(tl.uint8), mask=inside & (begins != 0))
        is_last = (tl.arange(0, ROWS) == ROWS - 1)[:, None]
        total_before = tl.sum(tl.where(is_last, total, 0), 0)
        count_before = tl.sum(tl.where(is_last, count, 0), 0)
    # The row after the user's last bin: the next user's first bin writes it if each edge has a bin of its own.
    next_row = first_row + tl.sum(tl.where(tl.arange(0, 4) == WINDOW, bins, 0), 0)
    unused = (next_row < end - first_edge) | (end == last_edge)
    tl.store(follows + WINDOW * rows + next_row, 0, mask=unused)


@triton.jit(do_not_specialize=["first_fold", "first_user", "first_edge", "last_edge", "rows", "users"])
def _target_biases(
    pointer,
    cell,
    steps,
    fold,
    first_fold,
    years,
    tables,
    follows,
    first_user,
    first_edge,
    last_edge,
    rows,
    target_start,
    users,
    out,
    WINDOWS: tl.constexpr,
    SHRINKAGES: tl.constexpr,
    MOVIE_SHRINKAGE: tl.constexpr,
    LANES: tl.constexpr,
    ROWS: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64) + first_user
    begin = tl.load(pointer + user)
    end = tl.load(pointer + user + 1)
    lanes = tl.arange(0, LANES)
    first_row = begin - first_edge
    table_size = rows.to(tl.int64) * 2 * LANES
    bins = tl.zeros([4], tl.int32)
    written = tl.zeros([LANES], tl.int32)
    for start in range(begin, end, ROWS):
        edge = start + tl.arange(0, ROWS)
        inside = edge < end
        lane = tl.load(fold + edge, mask=inside, other=0).to(tl.int32) - first_fold
        target = inside & (lane >= 0) & (lane < LANES)
        mine = target[:, None] & (lane[:, None] == lanes[None, :])
        place = tl.sum(tl.where(mine, written[None, :] + tl.cumsum(mine.to(tl.int32), 0) - 1, 0), 1)
        written += tl.sum(mine.to(tl.int32), 0)
        place += tl.load(target_start + lane.to(tl.int64) * users + user, mask=target, other=0)
        result = out + place * (WINDOWS + 1)
        year = tl.load(cell + edge, mask=target, other=0).to(tl.int64) * (2 * LANES) + lane
        total = tl.load(years + year, mask=target, other=0)
        count = tl.load(years + year + LANES, mask=target, other=0)
        tl.store(result, total / (count + MOVIE_SHRINKAGE), mask=target)
        step = tl.load(steps + edge, mask=inside, other=0).to(tl.int32)
        starts = _starts(step)
        numbers = first_row + bins[None, :] + tl.cumsum(starts, 0) - 1
        bins += tl.sum(starts, 0)
        for window in tl.static_range(WINDOWS):
            row = _column(numbers, window)
            before = target & (tl.load(follows + window * rows + row, mask=target, other=0) != 0)
            after = target & (tl.load(follows + window * rows + row + 1, mask=target, other=0) != 0)
            address = tables + window * table_size + row * (2 * LANES) + lane
            total = _sum_both_bins(address, target, before, after, 2 * LANES)
            count = _sum_both_bins(address + LANES, target, before, after, 2 * LANES)
            tl.store(result + window + 1, total / (count + SHRINKAGES[window]), mask=target)
