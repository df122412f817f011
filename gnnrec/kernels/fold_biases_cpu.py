"""CPU implementation of :mod:`gnnrec.kernels.fold_biases`: one vector of all lanes per edge, user by user.

An edge is multiplied in each lane by a row of ``masks``, which is 0 in the lane of its own fold and 1 elsewhere; the
last row is for edges of no lane. Each thread has its own table for sums over movies.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import Edges, TimeBins
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.simd import add, divide, fill, load, load_like, multiply, scale, store, subtract, zeros
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, number_type, run_compiled, work_ranges


@compiled
def _lane(fold, first_fold, lanes):
    return min(np.uint32(np.uint32(fold) - first_fold), np.uint32(lanes))


@compiled
def _sum_bins(steps, window, begin, size, masks, lane, left, place, joined, bins, empty, lanes):
    """Sums and counts a user's edges in half-width bins of a window, and returns the last one.

    Bins are numbered from 1, so that the one before the first is empty. Sums stay in registers, and the last ones that
    are stored in a bin remain.
    """
    starts, follows, last = np.uint8(1 << (2 * window)), np.uint8(2 << (2 * window)), np.uint32(0)
    total = count = empty
    store(bins, 0, 0, empty)
    store(bins, 0, lanes, empty)
    for at in range(size):
        step = steps[begin + at]
        start = (step & starts) != 0
        last = np.uint32(last + np.uint32(start))
        place[at], joined[last] = last, (step & follows) != 0
        keep, mask = left.dtype.type(not start), load_like(masks, lane[at], 0, empty)
        total = add(scale(keep, total), multiply(mask, load_like(left, at, 0, empty)))
        count = add(scale(keep, count), mask)
        store(bins, last, 0, total)
        store(bins, last, lanes, count)
    joined[last + 1] = 0
    store(bins, last + 1, 0, empty)
    store(bins, last + 1, lanes, empty)
    return last


@compiled
def _add_adjacent(bins, bin, column, joined, like):
    """Sums over both bins of a half-width bin."""
    here = load_like(bins, bin, column, like)
    before = scale(joined[bin], load_like(bins, bin - 1, column, like))
    after = scale(joined[bin + 1], load_like(bins, bin + 1, column, like))
    return add(add(here, here), add(before, after))


# Compiled functions in a closure would be part of the names of cached files, and different in every process.
@functools.cache
def kernels(lanes: int) -> SimpleNamespace:
    """Compiles the loops for a number of lanes."""

    @compiled
    def bias_sweep(
        pointer, movie, fold, first_fold, masks, movie_bias, user_total, user_degree, shrinkage, first, last, out, sums
    ):
        for user in range(first, last):
            begin, end = np.uint64(pointer[user]), np.uint64(pointer[user + 1])
            others = zeros(movie_bias, lanes)
            for edge in range(begin, end):
                mask = load(masks, _lane(fold[edge], first_fold, lanes), 0, lanes)
                others = add(others, multiply(mask, load(movie_bias, np.uint32(movie[edge]), 0, lanes)))
            degree = add(load(user_degree, user, 0, lanes), fill(shrinkage, others))
            bias = divide(subtract(load(user_total, user, 0, lanes), others), degree)
            store(out, user, 0, bias)
            if sums is not None:
                for edge in range(begin, end):
                    mask, column = load(masks, _lane(fold[edge], first_fold, lanes), 0, lanes), np.uint32(movie[edge])
                    store(sums, column, 0, add(load(sums, column, 0, lanes), multiply(mask, bias)))

    @compiled
    def year_sums(pointer, movie, rating, cell, fold, first_fold, masks, user_base, movie_bias, first, last, sums):
        for user in range(first, last):
            base = load(user_base, user, 0, lanes)
            for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
                mask = load(masks, _lane(fold[edge], first_fold, lanes), 0, lanes)
                own = add(base, load(movie_bias, np.uint32(movie[edge]), 0, lanes))
                left, row = subtract(fill(rating[edge], base), own), np.uint32(cell[edge])
                store(sums, row, 0, add(load(sums, row, 0, lanes), multiply(mask, left)))
                store(sums, row, lanes, add(load(sums, row, lanes, lanes), mask))

    @compiled
    def temporal_biases(
        pointer, movie, rating, cell, steps, fold, first_fold, masks, user_base, movie_bias, years,
        movie_shrinkage, user_shrinkages, target_start, first, last, out, stages,
    ):  # fmt: skip
        windows, longest, dtype = len(user_shrinkages), 0, rating.dtype
        for user in range(first, last):
            longest = max(longest, pointer[user + 1] - pointer[user])
        left, read = np.empty((longest, lanes), dtype), np.zeros((1, lanes + 1), dtype)
        lane, effect = np.empty(longest, np.uint32), np.empty((longest, windows + 1), dtype)
        place, joined = np.empty(longest, np.uint32), np.empty(longest + 2, dtype)
        bins, both = np.empty((longest + 2, 2 * lanes), dtype), np.empty((longest + 2, 2 * lanes), dtype)
        targets, written = np.empty(longest + 1, np.uint32), np.empty(lanes, np.int64)
        for user in range(first, last):
            begin, base = np.uint64(pointer[user]), load(user_base, user, 0, lanes)
            size, shrinkage = np.uint64(pointer[user + 1]) - begin, fill(movie_shrinkage, base)
            for at in range(size):
                edge = begin + at
                lane[at] = _lane(fold[edge], first_fold, lanes)
                mask = load(masks, lane[at], 0, lanes)
                residual = subtract(
                    fill(rating[edge], base), add(base, load(movie_bias, np.uint32(movie[edge]), 0, lanes))
                )
                # A rating is excluded from its own temporal bias, in which it counts twice.
                row, own = np.uint32(cell[edge]), add(mask, mask)
                total = subtract(load(years, row, 0, lanes), multiply(own, residual))
                bias = divide(total, subtract(add(load(years, row, lanes, lanes), shrinkage), own))
                store(left, at, 0, subtract(residual, bias))
                store(read, 0, 0, bias)
                effect[at, 0] = read[0, lane[at]]
            for window in range(windows):
                if stages is not None:
                    for at in range(size):
                        stages[window, begin + at] = left[at, 0]
                last_bin = _sum_bins(
                    steps, window, begin, size, masks, lane, left, place, joined, bins, zeros(left, lanes), lanes
                )
                shrinkage = fill(user_shrinkages[window], base)
                for number in range(1, last_bin + 1):
                    store(both, number, 0, _add_adjacent(bins, number, 0, joined, base))
                    store(both, number, lanes, add(_add_adjacent(bins, number, lanes, joined, base), shrinkage))
                for at in range(size):
                    mask, row, residual = load(masks, lane[at], 0, lanes), place[at], load(left, at, 0, lanes)
                    own = add(mask, mask)
                    total = subtract(load(both, row, 0, lanes), multiply(own, residual))
                    bias = divide(total, subtract(load(both, row, lanes, lanes), own))
                    store(left, at, 0, subtract(residual, bias))
                    store(read, 0, 0, bias)
                    effect[at, window + 1] = read[0, lane[at]]
            # All positions are written, even unused ones: a branch would be mispredicted often.
            count = np.uint64(0)
            for at in range(size):
                targets[count] = at
                count += np.uint64(lane[at] < lanes)
            for number in range(lanes):
                written[number] = target_start[number, user]
            for n in range(count):
                at = targets[n]
                row = written[lane[at]]
                written[lane[at]] = row + 1
                for column in range(windows + 1):
                    out[row, column] = effect[at, column]

    return SimpleNamespace(bias_sweep=bias_sweep, year_sums=year_sums, temporal_biases=temporal_biases)


def _lanes(edges: Edges, folds: range) -> tuple[np.uint32, np.ndarray]:
    """Returns the first fold, modulo 2^32, and the masks ``[lanes + 1, lanes]``."""
    count, dtype = len(folds), number_type(edges.rating)
    return np.uint32(folds.start % 2**32), np.vstack([1 - np.eye(count, dtype=dtype), np.ones((1, count), dtype)])


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
    ranges = balanced_ranges(array(edges.pointer), num_workers(edges.movie.numel()))
    user_bias = torch.empty_like(user_total)
    movie_sums = movie_bias.new_zeros(len(ranges), *movie_bias.shape) if sums else None
    number = number_type(user_total)(shrinkage)
    read = edges.pointer, edges.movie, edges.fold, *_lanes(edges, folds), movie_bias, user_total, user_degree, number
    run_compiled(kernels(len(folds)).bias_sweep, ranges, read, [user_bias], [movie_sums])
    return user_bias, movie_sums.sum(0) if sums else None


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """See :func:`gnnrec.kernels.fold_biases.year_sums`."""
    ranges = balanced_ranges(array(edges.pointer), num_workers(edges.movie.numel()))
    sums = movie_bias.new_zeros(len(ranges), cells, 2 * len(folds))
    of_edges = edges.pointer, edges.movie, edges.rating, edges.bins.cell, edges.fold
    read = *of_edges, *_lanes(edges, folds), user_base, movie_bias
    run_compiled(kernels(len(folds)).year_sums, ranges, read, tables=[sums])
    return (sums[0] if len(ranges) == 1 else sums.sum(0)).view(cells, 2, len(folds))


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
    start = offsets(num_targets.flatten())
    biases = edges.rating.new_empty(target_ptr[-1], 1 + len(windows.user_half_widths))
    before = edges.rating.new_empty(len(windows.user_half_widths), edges.movie.numel()) if stages else None
    number, bins = number_type(edges.rating), edges.bins
    read = (
        edges.pointer, edges.movie, edges.rating, bins.cell, bins.steps, edges.fold, *_lanes(edges, folds),
        user_base, movie_bias, years.flatten(1), number(windows.movie_shrinkage),
        np.array(windows.user_shrinkages, number), start[:-1].view(num_targets.shape),
    )  # fmt: skip
    ranges = work_ranges(array(edges.pointer), edges.movie.numel())
    run_compiled(kernels(len(folds)).temporal_biases, ranges, read, [biases, before])
    return biases, before
