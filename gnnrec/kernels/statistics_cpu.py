"""Compiled loops behind :mod:`gnnrec.kernels.statistics`: each walks all edges once, user by user.

Sums over movies are taken into a table a thread. ``excluded`` is the fold whose edges are skipped, -1 for none.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gnnrec.kernels.edges import Edges, Residuals, Windows
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.simd import OPTIONS
from gnnrec.kernels.threads import array, optional, pieces, run, workers


@njit(**OPTIONS)
def _fold_sums(pointer, movie, rating, fold, first, last, user_count, user_sum, movie_count, movie_sum):
    for user in range(first, last):
        for edge in range(pointer[user], pointer[user + 1]):
            f, m, r = fold[edge], movie[edge], rating[edge]
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
        for edge in range(pointer[user], pointer[user + 1]):
            if fold[edge] != excluded:
                others += movie_bias[movie[edge]]
        bias = (user_total[user] - others) / (user_degree[user] + shrinkage)
        out[user] = bias
        for edge in range(pointer[user], pointer[user + 1]):
            if fold[edge] != excluded:
                sums[movie[edge]] += bias


def bias_sweep(
    edges: Edges, excluded: int, movie_bias: Tensor, user_total: Tensor, user_degree: Tensor, shrinkage: float
) -> tuple[Tensor, Tensor]:
    """Biases of users given those of movies, ``[users]``, and what the raters of each movie sum up to, ``[movies]``."""
    pointer = array(edges.pointer)
    ranges = pieces(pointer, workers(edges.movie.numel()))
    user_bias = torch.empty_like(user_total)
    sums = movie_bias.new_zeros(len(ranges), edges.movies)
    read = pointer, array(edges.movie), array(edges.fold), excluded
    given = array(movie_bias), array(user_total), array(user_degree), array(user_total).dtype.type(shrinkage)

    def work(number: int, first: int, last: int) -> None:
        _bias_sweep(*read, *given, first, last, array(user_bias), array(sums)[number])

    run(work, ranges)
    return user_bias, sums.sum(0)


@njit(**OPTIONS)
def _year_sums(pointer, movie, rating, time, fold, excluded, user_base, movie_bias, half, first, last, sums):
    for user in range(first, last):
        base = user_base[user]
        for edge in range(pointer[user], pointer[user + 1]):
            if fold[edge] != excluded:
                m, h = movie[edge], np.uint32(time[edge]) // half
                sums[m, h, 0] += rating[edge] - base - movie_bias[m]
                sums[m, h, 1] += 1


def year_sums(edges: Edges, excluded: int, user_base: Tensor, movie_bias: Tensor, half: int, halves: int) -> Tensor:
    """Sums of residuals and numbers of edges in the half bins of each movie, ``[movies, halves, 2]``."""
    pointer = array(edges.pointer)
    ranges = pieces(pointer, workers(edges.movie.numel()))
    sums = movie_bias.new_zeros(len(ranges), edges.movies, halves, 2)
    read = pointer, array(edges.movie), array(edges.rating), array(edges.time), array(edges.fold), excluded
    given = array(user_base), array(movie_bias), np.uint32(half)

    def work(number: int, first: int, last: int) -> None:
        _year_sums(*read, *given, first, last, array(sums)[number])

    run(work, ranges)
    return sums[0] if len(ranges) == 1 else sums.sum(0)


@njit(**OPTIONS)
def _count_kept(pointer, fold, group, excluded, kept, first, last, out):
    for user in range(first, last):
        count = 0
        for edge in range(pointer[user], pointer[user + 1]):
            count += (fold[edge] != excluded) & kept[group[edge]]
        out[user] = count


@njit(**OPTIONS)
def _take_off(time, fold, excluded, half, shrinkage, begin, end, number, bins, place, left, effect):
    """Effects of one window on the edges of one user, in ``effect``; they are taken off ``left``.

    ``number``, ``bins`` (sum, count, sum and count over both bins) and ``place`` are scratch for half bins.
    """
    size, previous = -1, np.uint32(0)
    for edge in range(begin, end):
        here = np.uint32(time[edge]) // half
        if size < 0 or here != previous:
            size, previous = size + 1, here
            number[size], bins[size, 0], bins[size, 1] = here, 0, 0
        place[edge - begin] = size
        if fold[edge] != excluded:
            bins[size, 0] += left[edge - begin]
            bins[size, 1] += 1
    for each in range(size + 1):
        total, count = 2 * bins[each, 0], 2 * bins[each, 1]
        if each > 0 and number[each - 1] + 1 == number[each]:
            total, count = total + bins[each - 1, 0], count + bins[each - 1, 1]
        if each < size and number[each + 1] == number[each] + 1:
            total, count = total + bins[each + 1, 0], count + bins[each + 1, 1]
        bins[each, 2], bins[each, 3] = total, count + shrinkage
    for edge in range(begin, end):
        at = edge - begin
        # A rating has no part in the effect on itself.
        own = 2 if fold[edge] != excluded else 0
        effect[at] = (bins[place[at], 2] - own * left[at]) / (bins[place[at], 3] - own)
        left[at] -= effect[at]


@njit(**OPTIONS)
def _residuals(
    pointer, movie, rating, level, time, fold, excluded, group, kept, scale, user_base, movie_bias,
    years, half, shrinkage, user_halves, user_shrinkages,
    message_pointer, target_pointer, first, last,
    sent_movie, sent_residual, sent_level, slot, target_movie, target_rating, target_effect, stages,
):  # fmt: skip
    dtype, windows, longest = rating.dtype, len(user_halves), 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    left, effect = np.empty(longest, dtype), np.empty((windows + 1, longest), dtype)
    number, place, bins = np.empty(longest, np.uint32), np.empty(longest, np.int64), np.empty((longest, 4), dtype)
    for user in range(first, last):
        begin, end = pointer[user], pointer[user + 1]
        for edge in range(begin, end):
            left[edge - begin] = rating[edge] - user_base[user] - movie_bias[movie[edge]]
        if years is not None:
            for edge in range(begin, end):
                at, m, h = edge - begin, movie[edge], np.uint32(time[edge]) // half
                own = 2 if fold[edge] != excluded else 0
                effect[0, at] = (years[m, h, 0] - own * left[at]) / (years[m, h, 1] + shrinkage - own)
                left[at] -= effect[0, at]
            for window in range(windows):
                if stages is not None:
                    stages[window, begin:end] = left[: end - begin]
                _take_off(
                    time, fold, excluded, user_halves[window], user_shrinkages[window], begin, end,
                    number, bins, place, left, effect[window + 1],
                )  # fmt: skip
        sent, target = message_pointer[user], target_pointer[user]
        for edge in range(begin, end):
            if fold[edge] == excluded:
                target_movie[target], target_rating[target] = movie[edge], rating[edge]
                if years is not None:
                    for window in range(windows + 1):
                        target_effect[target, window] = effect[window, edge - begin]
                target += 1
            carried = (fold[edge] != excluded) & kept[group[edge]]
            if slot is not None:
                slot[edge] = sent if carried else -1
            if carried:
                sent_movie[sent], sent_level[sent] = movie[edge], level[edge]
                sent_residual[sent] = scale * left[edge - begin]
                sent += 1


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor | None,
    windows: Windows | None,
    group: Tensor,
    kept: Tensor,
    scale: float,
    slots: bool,
    stages: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    pointer, count = array(edges.pointer), edges.movie.numel()
    ranges = pieces(pointer, 4 * workers(count) if workers(count) > 1 else 1)
    fold, kept = array(edges.fold), array(kept)
    sent = torch.empty(len(pointer) - 1, dtype=torch.int64)

    def count_kept(number: int, first: int, last: int) -> None:
        _count_kept(pointer, fold, array(group), excluded, kept, first, last, array(sent))

    run(count_kept, ranges)
    message_pointer, target_pointer = offsets(sent), offsets(num_targets)
    total, targets, like = int(message_pointer[-1]), int(target_pointer[-1]), edges.rating
    timed = years is not None
    found = Residuals(
        pointer=message_pointer,
        movie=torch.empty(total, dtype=torch.int32),
        residual=like.new_empty(total),
        level=torch.empty(total, dtype=torch.uint8),
        slot=torch.empty(count, dtype=torch.int32) if slots else None,
        target_pointer=target_pointer,
        target_movie=torch.empty(targets, dtype=torch.int32),
        target_rating=like.new_empty(targets),
        target_effect=like.new_empty(targets, 1 + len(windows.user_halves)) if timed else None,
        stages=like.new_empty(len(windows.user_halves), count) if timed and stages else None,
    )
    number = array(like).dtype.type
    given = (
        pointer, array(edges.movie), array(like), array(edges.level), optional(edges.time), fold, excluded,
        array(group), kept, number(scale), array(user_base), array(movie_bias), optional(years),
        np.uint32(windows.movie_half if timed else 1), number(windows.movie_shrinkage if timed else 0),
        np.array(windows.user_halves if timed else (), np.uint32),
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
        for edge in range(pointer[user], pointer[user + 1]):
            m = movie[edge]
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


def window_sums(edges: Edges, left: Tensor, half: int, query_pointer: Tensor, query_time: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    out = left.new_empty(query_time.numel(), 2)
    read = array(edges.pointer), array(edges.time), array(left), half, array(query_pointer), array(query_time)
    run(
        lambda number, first, last: _window_sums(*read, first, last, array(out)),
        pieces(array(query_pointer), workers(query_time.numel())),
    )
    return out
