"""Compiled loops behind :func:`gnnrec.kernels.statistics.residuals`: one user at a time, while it is in the cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import Edges, Residuals, TimeBins
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.threads import array, optional, run, shares

#: Messages to which the memory of a pass is rounded up.
ROOM = 1 << 20


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
def _take_off(steps, window, shrinkage, begin, size, carried, place, bins, both, joined, left, effect):
    """Effects of one window on the edges of one user, in its row of ``effect``; they are taken off ``left``.

    ``place``, ``bins``, ``both`` and ``joined`` are scratch: the half bin of each edge, and sums over half bins, sums
    over both bins and whether a half bin follows directly on the one before. The first half bin has number 1, so that
    there is nothing before it.
    """
    starts, follows, last = np.uint8(1 << (2 * window)), np.uint8(2 << (2 * window)), np.uint32(0)
    total, count = 0.0, 0.0
    bins[0, 0], bins[0, 1] = 0, 0
    for at in range(size):
        step = steps[begin + at]
        last = np.uint32(last + np.uint32((step & starts) != 0))
        place[at] = last
        joined[last] = (step & follows) != 0
        # Running sums, of which the last one of a half bin stays: nothing is read back from memory.
        total += carried[at] * left[at]
        count += carried[at]
        bins[last, 0], bins[last, 1] = total, count
    joined[last + 1], bins[last + 1, 0], bins[last + 1, 1] = 0, 0, 0
    for each in range(last, 0, -1):
        bins[each, 0] -= bins[each - 1, 0]
        bins[each, 1] -= bins[each - 1, 1]
    for each in range(1, last + 1):
        before, after = joined[each], joined[each + 1]
        both[each, 0] = 2 * bins[each, 0] + before * bins[each - 1, 0] + after * bins[each + 1, 0]
        both[each, 1] = 2 * bins[each, 1] + before * bins[each - 1, 1] + after * bins[each + 1, 1] + shrinkage
    for at in range(size):
        # A rating has no part in the effect on itself.
        own = carried[at] + carried[at]
        found = (both[place[at], 0] - own * left[at]) / (both[place[at], 1] - own)
        effect[window + 1, at] = found
        left[at] -= found


@compiled
def _residuals(
    pointer, movie, rating, level, year, steps, fold, excluded, group, kept, scale, user_base, movie_bias,
    years, shrinkage, user_shrinkages, message_pointer, target_pointer, first, last,
    sent_movie, sent_residual, sent_level, slot, target_movie, target_rating, target_effect, stages,
):  # fmt: skip
    dtype, windows, longest = rating.dtype, len(user_shrinkages), 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    left, carried, effect = np.empty(longest, dtype), np.empty(longest, dtype), np.empty((windows + 1, longest), dtype)
    place, joined = np.empty(longest, np.uint32), np.empty(longest + 2, dtype)
    bins, both = np.empty((longest + 2, 2), np.float64), np.empty((longest + 2, 2), dtype)
    sends, targets = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    for user in range(first, last):
        # Unsigned positions spare every access the question whether it counts from the end.
        begin, base = np.uint64(pointer[user]), user_base[user]
        size = np.uint64(pointer[user + 1]) - begin
        for at in range(size):
            carried[at] = fold[begin + at] != excluded
            left[at] = rating[begin + at] - base - movie_bias[np.uint32(movie[begin + at])]
        if years is not None:
            for at in range(size):
                m, h, own = np.uint32(movie[begin + at]), year[begin + at], carried[at] + carried[at]
                effect[0, at] = (years[m, h, 0] - own * left[at]) / (years[m, h, 1] + shrinkage - own)
                left[at] -= effect[0, at]
            for window in range(windows):
                if stages is not None:
                    for at in range(size):
                        stages[window, begin + at] = left[at]
                _take_off(
                    steps, window, user_shrinkages[window], begin, size, carried, place, bins, both, joined, left,
                    effect,
                )  # fmt: skip
        # Positions are written whether they count or not: which do is a coin's toss, and branches on that are slow.
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
        for each in range(sent):
            at = sends[each]
            sent_movie[out + each], sent_level[out + each] = movie[begin + at], level[begin + at]
            sent_residual[out + each] = scale * left[at]
        out = np.uint64(target_pointer[user])
        for each in range(target):
            at = targets[each]
            target_movie[out + each], target_rating[out + each] = movie[begin + at], rating[begin + at]
            if years is not None:
                for window in range(windows + 1):
                    target_effect[out + each, window] = effect[window, at]


def _room(size: int, dtype: torch.dtype) -> Tensor:
    """Memory for ``size`` numbers, of a size that the next pass, with a few messages more or less, can use again."""
    return torch.empty(-(-size // ROOM) * ROOM, dtype=dtype)[:size]


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
    ranges = shares(pointer, count)
    fold, group, kept = array(edges.fold), optional(group), optional(kept)
    sent = torch.empty(len(pointer) - 1, dtype=torch.int64)

    def count_kept(number: int, first: int, last: int) -> None:
        _count_kept(pointer, fold, group, excluded, kept, first, last, array(sent))

    run(count_kept, ranges)
    message_pointer, target_pointer = offsets(sent), offsets(num_targets)
    total, targets, like = int(message_pointer[-1]), int(target_pointer[-1]), edges.rating
    timed = years is not None
    found = Residuals(
        pointer=message_pointer,
        movie=_room(total, torch.int32),
        residual=_room(total, like.dtype),
        level=_room(total, torch.uint8),
        slot=torch.empty(count, dtype=torch.int32) if slots else None,
        target_pointer=target_pointer,
        target_movie=torch.empty(targets, dtype=torch.int32),
        target_rating=like.new_empty(targets),
        target_effect=like.new_empty(targets, 1 + len(windows.user_halves)) if timed else None,
        stages=like.new_empty(len(windows.user_halves), count) if timed and stages else None,
    )
    number = array(like).dtype.type
    bins = edges.bins if timed else None
    given = (
        pointer, array(edges.movie), array(like), array(edges.level), array(bins.year) if timed else None,
        array(bins.steps) if timed else None, fold, excluded, group, kept, number(scale), array(user_base),
        array(movie_bias), optional(years), number(windows.movie_shrinkage if timed else 0),
        np.array(windows.user_shrinkages if timed else (), array(like).dtype),
        array(message_pointer), array(target_pointer),
    )  # fmt: skip
    written = [
        optional(getattr(found, name))
        for name in ("movie", "residual", "level", "slot", "target_movie", "target_rating", "target_effect", "stages")
    ]
    run(lambda number, first, last: _residuals(*given, first, last, *written), ranges)
    return found
