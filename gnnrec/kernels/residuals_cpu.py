"""CPU implementation of :func:`gnnrec.kernels.statistics.residuals`: one user at a time, whose edges stay in cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import Edges, Residuals, TimeBins
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.threads import array, number_type, run_compiled, work_ranges

#: Allocations are rounded up to a multiple of this number of messages.
ALLOCATION_UNIT = 1 << 20


@compiled
def _count_kept(pointer, fold, group, excluded, kept, first, last, out):
    for user in range(first, last):
        count = 0
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            carried = fold[edge] != excluded
            if group is not None:
                carried &= kept[group[edge]]
            count += carried
        out[user] = count


@compiled
def _subtract_bias(steps, window, shrinkage, begin, size, carried, place, bins, both, joined, left, effect):
    """Writes the temporal biases of one window and user to a row of ``effect``, and subtracts them from ``left``.

    ``place``, ``bins``, ``both`` and ``joined`` are scratch memory: the half-width bin of each edge, and for each
    half-width bin its sums, the sums over both bins, and whether it is adjacent to the one before. The first
    half-width bin has number 1, so that the one before it is empty.
    """
    starts, follows, last = np.uint8(1 << (2 * window)), np.uint8(2 << (2 * window)), np.uint32(0)
    total, count = 0.0, 0.0
    bins[0, 0], bins[0, 1] = 0, 0
    for at in range(size):
        step = steps[begin + at]
        last = np.uint32(last + np.uint32((step & starts) != 0))
        place[at] = last
        joined[last] = (step & follows) != 0
        # Cumulative sums, of which the last one in a half-width bin remains, avoid reading sums back from memory.
        total += carried[at] * left[at]
        count += carried[at]
        bins[last, 0], bins[last, 1] = total, count
    joined[last + 1], bins[last + 1, 0], bins[last + 1, 1] = 0, 0, 0
    for b in range(last, 0, -1):
        bins[b, 0] -= bins[b - 1, 0]
        bins[b, 1] -= bins[b - 1, 1]
    for b in range(1, last + 1):
        before, after = joined[b], joined[b + 1]
        both[b, 0] = 2 * bins[b, 0] + before * bins[b - 1, 0] + after * bins[b + 1, 0]
        both[b, 1] = 2 * bins[b, 1] + before * bins[b - 1, 1] + after * bins[b + 1, 1] + shrinkage
    for at in range(size):
        # A rating is excluded from its own temporal bias.
        own = carried[at] + carried[at]
        bias = (both[place[at], 0] - own * left[at]) / (both[place[at], 1] - own)
        effect[window + 1, at] = bias
        left[at] -= bias


@compiled
def _residuals(
    pointer, movie, rating, level, year, steps, fold, excluded, group, kept, scale, user_base, movie_bias,
    years, shrinkage, user_shrinkages, message_pointer, target_pointer, first, last,
    sent_movie, sent_residual, sent_level, slot, target_movie, target_rating, target_temporal_bias, stages,
):  # fmt: skip
    dtype, windows, longest = rating.dtype, len(user_shrinkages), 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    message, left, carried = np.empty(longest, dtype), np.empty(longest, dtype), np.empty(longest, dtype)
    effect = np.empty((windows + 1, longest), dtype)
    place, joined = np.empty(longest, np.uint32), np.empty(longest + 2, dtype)
    bins, both = np.empty((longest + 2, 2), np.float64), np.empty((longest + 2, 2), dtype)
    sends, targets = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    for user in range(first, last):
        # Unsigned positions avoid a check for negative indices in every access.
        begin, base = np.uint64(pointer[user]), user_base[user]
        size = np.uint64(pointer[user + 1]) - begin
        for at in range(size):
            carried[at] = fold[begin + at] != excluded
            message[at] = left[at] = rating[begin + at] - base - movie_bias[np.uint32(movie[begin + at])]
        if years is not None:
            for at in range(size):
                m, h, own = np.uint32(movie[begin + at]), year[begin + at], carried[at] + carried[at]
                effect[0, at] = (years[m, h, 0] - own * left[at]) / (years[m, h, 1] + shrinkage - own)
                left[at] -= effect[0, at]
            for window in range(windows):
                if stages is not None:
                    for at in range(size):
                        stages[window, begin + at] = left[at]
                _subtract_bias(
                    steps, window, user_shrinkages[window], begin, size, carried, place, bins, both, joined, left,
                    effect,
                )  # fmt: skip
        # All positions are written, even unused ones: a branch would be mispredicted often.
        sent, target = np.uint64(0), np.uint64(0)
        for at in range(size):
            included = fold[begin + at] != excluded
            sends[sent], targets[target] = at, at
            target += np.uint64(not included)
            if group is not None:
                included &= kept[group[begin + at]]
            if slot is not None:
                slot[begin + at] = message_pointer[user] + np.int64(sent) if included else -1
            sent += np.uint64(included)
        out = np.uint64(message_pointer[user])
        for n in range(sent):
            at = sends[n]
            sent_movie[out + n], sent_level[out + n] = movie[begin + at], level[begin + at]
            sent_residual[out + n] = scale * message[at]
        out = np.uint64(target_pointer[user])
        for n in range(target):
            at = targets[n]
            target_movie[out + n], target_rating[out + n] = movie[begin + at], rating[begin + at]
            if years is not None:
                for window in range(windows + 1):
                    target_temporal_bias[out + n, window] = effect[window, at]


def _allocate(size: int, dtype: torch.dtype) -> Tensor:
    """Allocates ``size`` elements, rounded up so that the allocator can reuse the memory in the next pass."""
    return torch.empty(-(-size // ALLOCATION_UNIT) * ALLOCATION_UNIT, dtype=dtype)[:size]


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor | None,
    windows: TimeBins | None,
    group: Tensor | None,
    kept: Tensor | None,
    scale: float,
    slots: bool,
    stages: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    pointer, count = array(edges.pointer), edges.movie.numel()
    ranges = work_ranges(pointer, count)
    sent = torch.empty(len(pointer) - 1, dtype=torch.int64)
    run_compiled(_count_kept, ranges, [pointer, edges.fold, group, excluded, kept], [sent])
    message_pointer, target_pointer = offsets(sent), offsets(num_targets)
    total, targets, like = int(message_pointer[-1]), int(target_pointer[-1]), edges.rating
    timed = years is not None
    result = Residuals(
        pointer=message_pointer,
        movie=_allocate(total, torch.int32),
        residual=_allocate(total, like.dtype),
        level=_allocate(total, torch.uint8),
        slot=torch.empty(count, dtype=torch.int32) if slots else None,
        target_pointer=target_pointer,
        target_movie=torch.empty(targets, dtype=torch.int32),
        target_rating=like.new_empty(targets),
        target_temporal_bias=like.new_empty(targets, 1 + len(windows.user_half_widths)) if timed else None,
        stages=like.new_empty(len(windows.user_half_widths), count) if timed and stages else None,
    )
    number = number_type(like)
    bins = edges.bins if timed else None
    read = (
        pointer, edges.movie, like, edges.level, bins.year if timed else None, bins.steps if timed else None,
        edges.fold, excluded, group, kept, number(scale), user_base, movie_bias, years,
        number(windows.movie_shrinkage if timed else 0),
        np.array(windows.user_shrinkages if timed else (), number),
        message_pointer, target_pointer,
    )  # fmt: skip
    written = [
        result.movie, result.residual, result.level, result.slot, result.target_movie, result.target_rating,
        result.target_temporal_bias, result.stages,
    ]  # fmt: skip
    run_compiled(_residuals, ranges, read, written)
    return result
