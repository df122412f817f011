"""Compiled loops behind the bins of time in :mod:`gnnrec.kernels.statistics`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import EdgeTimeBins, TimeBins
from gnnrec.kernels.threads import array, pieces, run, workers


@compiled
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


@compiled
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


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> EdgeTimeBins:
    """See :func:`gnnrec.kernels.statistics.time_bins`."""
    year, steps = torch.empty(time.shape, dtype=torch.uint8), torch.empty(time.shape, dtype=torch.uint8)
    read = array(pointer), array(time), np.uint32(windows.movie_half), np.array(windows.user_halves, np.uint32)
    ranges = pieces(read[0], workers(time.numel()))
    run(lambda number, first, last: _time_bins(*read, first, last, array(year), array(steps)), ranges)
    return EdgeTimeBins(year, steps)
