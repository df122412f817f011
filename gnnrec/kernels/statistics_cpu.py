"""Compiled loops behind :mod:`gnnrec.kernels.statistics`: each walks all edges once, user by user.

Sums over movies are taken into a table a thread. ``excluded`` is the fold whose edges are skipped, -1 for none.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gnnrec.kernels.edges import Edges, Residuals, TimeBins, Windows
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.simd import OPTIONS
from gnnrec.kernels.threads import array, optional, pieces, run, workers


#: Messages to which the memory of a pass is rounded up.
ROOM = 1 << 20


@njit(**OPTIONS)
def _fold_sums(pointer, movie, rating, fold, first, last, user_count, user_sum, movie_count, movie_sum):
    for user in range(first, last):
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            f, m, r = fold[edge], np.uint32(movie[edge]), rating[edge]
            user_count[f, user] += 1
            user_sum[f, user] += r
            movie_count[m, f] += 1
            movie_sum[m, f] += r


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ratings and their sums by fold: of users ``[folds, users]``, of movies ``[movies, folds]``."""
    pointer = array(edges.pointer)
    ranges = pieces(pointer, workers(edges.movie.numel()))
    user_count = torch.zeros(folds, len(pointer) - 1, dtype=torch.int32)
    user_sum = torch.zeros(folds, len(pointer) - 1, dtype=torch.float64)
    movie_count = torch.zeros(len(ranges), edges.movies, folds, dtype=torch.int32)
    movie_sum = torch.zeros(len(ranges), edges.movies, folds, dtype=torch.float64)
    read = pointer, array(edges.movie), array(edges.rating), array(edges.fold)
    of_users = array(user_count), array(user_sum)

    def work(number: int, first: int, last: int) -> None:
        _fold_sums(*read, first, last, *of_users, array(movie_count)[number], array(movie_sum)[number])

    run(work, ranges)
    return user_count, user_sum, movie_count.sum(0, dtype=torch.int32), movie_sum.sum(0)


@njit(**OPTIONS)
def _bias_sweep(pointer, movie, fold, excluded, movie_bias, user_total, user_degree, shrinkage, first, last, out, sums):
    for user in range(first, last):
        others = out.dtype.type(0)
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            if fold[edge] != excluded:
                others += movie_bias[np.uint32(movie[edge])]
        bias = (user_total[user] - others) / (user_degree[user] + shrinkage)
        out[user] = bias
        if sums is not None:
            for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
                if fold[edge] != excluded:
                    sums[np.uint32(movie[edge])] += bias


def bias_sweep(
    edges: Edges,
    excluded: int,
    movie_bias: Tensor,
    user_total: Tensor,
    user_degree: Tensor,
    shrinkage: float,
    sums: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.statistics.bias_sweep`."""
    pointer = array(edges.pointer)
    ranges = pieces(pointer, workers(edges.movie.numel()))
    user_bias = torch.empty_like(user_total)
    of_movies = movie_bias.new_zeros(len(ranges), edges.movies) if sums else None
    read = pointer, array(edges.movie), array(edges.fold), excluded
    given = array(movie_bias), array(user_total), array(user_degree), array(user_total).dtype.type(shrinkage)

    def work(number: int, first: int, last: int) -> None:
        _bias_sweep(*read, *given, first, last, array(user_bias), array(of_movies)[number] if sums else None)

    run(work, ranges)
    return user_bias, of_movies.sum(0) if sums else None


@njit(**OPTIONS)
def _year_sums(pointer, movie, rating, year, fold, excluded, user_base, movie_bias, first, last, sums):
    for user in range(first, last):
        base = user_base[user]
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            if fold[edge] != excluded:
                m, h = np.uint32(movie[edge]), year[edge]
                sums[m, h, 0] += rating[edge] - base - movie_bias[m]
                sums[m, h, 1] += 1


def year_sums(edges: Edges, excluded: int, user_base: Tensor, movie_bias: Tensor, halves: int) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.year_sums`."""
    pointer = array(edges.pointer)
    ranges = pieces(pointer, workers(edges.movie.numel()))
    sums = movie_bias.new_zeros(len(ranges), edges.movies, halves, 2)
    read = pointer, array(edges.movie), array(edges.rating), array(edges.bins.year), array(edges.fold), excluded
    given = array(user_base), array(movie_bias)

    def work(number: int, first: int, last: int) -> None:
        _year_sums(*read, *given, first, last, array(sums)[number])

    run(work, ranges)
    return sums[0] if len(ranges) == 1 else sums.sum(0)


@njit(**OPTIONS)
def _count_kept(pointer, fold, group, excluded, kept, first, last, out):
    for user in range(first, last):
        count = 0
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            carried = fold[edge] != excluded
            if group is not None:
                carried &= kept[group[edge]]
            count += carried
        out[user] = count


@njit(**OPTIONS)
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


@njit(**OPTIONS)
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
    windows: Windows | None,
    group: Tensor | None,
    kept: Tensor | None,
    scale: float,
    slots: bool,
    stages: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    pointer, count = array(edges.pointer), edges.movie.numel()
    ranges = pieces(pointer, 4 * workers(count) if workers(count) > 1 else 1)
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


@njit(**OPTIONS)
def _level_sums(pointer, movie, level, sender_scale, to_users, first, last, out):
    for user in range(first, last):
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            m = np.uint32(movie[edge])
            if to_users:
                out[user, level[edge]] += 1 if sender_scale is None else sender_scale[m]
            else:
                out[m, level[edge]] += 1 if sender_scale is None else sender_scale[user]


def level_sums(
    pointer: Tensor,
    movie: Tensor,
    level: Tensor,
    shape: tuple[int, int],
    scale: Tensor | None,
    to_users: bool,
    dtype: torch.dtype,
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.level_sums`."""
    ranges = pieces(array(pointer), workers(movie.numel()))
    tables = 1 if to_users else len(ranges)
    out = torch.zeros(tables, *shape, dtype=dtype)
    read = array(pointer), array(movie), array(level), optional(scale), to_users

    def work(number: int, first: int, last: int) -> None:
        _level_sums(*read, first, last, array(out)[0 if to_users else number])

    run(work, ranges)
    return out[0] if tables == 1 else out.sum(0)


@njit(**OPTIONS)
def _window_sums(pointer, time, left, half, query_pointer, query_time, first, last, out):
    for user in range(first, last):
        begin, end = pointer[user], pointer[user + 1]
        for query in range(query_pointer[user], query_pointer[user + 1]):
            here = query_time[query] // half
            low, high = begin, end
            while low < high:
                middle = (low + high) // 2
                if time[middle] // half < here - 1:
                    low = middle + 1
                else:
                    high = middle
            total, count = out.dtype.type(0), 0
            while low < end and time[low] // half <= here + 1:
                times = 2 if time[low] // half == here else 1
                total, count = total + times * left[low], count + times
                low += 1
            out[query, 0], out[query, 1] = total, count


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    out = left.new_empty(query_time.numel(), 2)
    read = array(pointer), array(time), array(left), half, array(query_pointer), array(query_time)
    run(
        lambda number, first, last: _window_sums(*read, first, last, array(out)),
        pieces(array(query_pointer), workers(query_time.numel())),
    )
    return out


@njit(**OPTIONS)
def _time_bins(pointer, time, movie_half, user_halves, first, last, year, steps):
    for user in range(first, last):
        for edge in range(pointer[user], pointer[user + 1]):
            now, step = np.uint32(time[edge]), 0
            year[edge] = now // movie_half
            for window in range(len(user_halves)):
                here = now // user_halves[window]
                if edge == pointer[user]:
                    step |= 1 << (2 * window)
                    continue
                before = np.uint32(time[edge - 1]) // user_halves[window]
                if here == before:
                    step |= steps[edge - 1] & (2 << (2 * window))
                else:
                    step |= (3 if here == before + 1 else 1) << (2 * window)
            steps[edge] = step


def time_bins(pointer: Tensor, time: Tensor, windows: Windows) -> TimeBins:
    """See :func:`gnnrec.kernels.statistics.time_bins`."""
    year, steps = torch.empty(time.shape, dtype=torch.uint8), torch.empty(time.shape, dtype=torch.uint8)
    read = array(pointer), array(time), np.uint32(windows.movie_half), np.array(windows.user_halves, np.uint32)
    ranges = pieces(read[0], workers(time.numel()))
    run(lambda number, first, last: _time_bins(*read, first, last, array(year), array(steps)), ranges)
    return TimeBins(year, steps)
