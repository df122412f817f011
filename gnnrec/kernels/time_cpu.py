"""CPU implementation of ``window_sums`` and ``time_bins`` of :mod:`gnnrec.kernels.statistics`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import TimeBins
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled


@compiled
def _window_sums(pointer, time, left, half_width, query_pointer, query_time, first, last, out):
    longest = 0
    for user in range(first, last):
        if query_pointer[user] < query_pointer[user + 1]:
            longest = max(longest, pointer[user + 1] - pointer[user])
    # Many ratings of a user are from the same session: a query adds sums of bins, not edges.
    place, total, count = np.empty(longest, np.int64), np.empty(longest, out.dtype), np.empty(longest, np.int64)
    for user in range(first, last):
        if query_pointer[user] == query_pointer[user + 1]:
            continue
        bins = 0
        for edge in range(pointer[user], pointer[user + 1]):
            here = time[edge] // half_width
            if bins == 0 or place[bins - 1] != here:
                place[bins], total[bins], count[bins] = here, 0, 0
                bins += 1
            total[bins - 1] += left[edge]
            count[bins - 1] += 1
        for query in range(query_pointer[user], query_pointer[user + 1]):
            here = query_time[query] // half_width
            low, high = 0, bins
            while low < high:
                middle = (low + high) // 2
                if place[middle] < here - 1:
                    low = middle + 1
                else:
                    high = middle
            near, edges = out.dtype.type(0), 0
            while low < bins and place[low] <= here + 1:
                times = 2 if place[low] == here else 1
                near, edges = near + times * total[low], edges + times * count[low]
                low += 1
            out[query, 0], out[query, 1] = near, edges


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half_width: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    out = left.new_empty(query_time.numel(), 2)
    ranges = balanced_ranges(array(query_pointer), num_workers(query_time.numel()))
    run_compiled(_window_sums, ranges, [pointer, time, left, half_width, query_pointer, query_time], [out])
    return out


@compiled
def _time_bins(pointer, time, movie_half_width, user_half_widths, first, last, year, steps):
    for user in range(first, last):
        for edge in range(pointer[user], pointer[user + 1]):
            now, step = np.uint32(time[edge]), 0
            year[edge] = now // movie_half_width
            for window in range(len(user_half_widths)):
                here = now // user_half_widths[window]
                if edge == pointer[user]:
                    step |= 1 << (2 * window)
                    continue
                before = np.uint32(time[edge - 1]) // user_half_widths[window]
                if here == before:
                    step |= steps[edge - 1] & (2 << (2 * window))
                else:
                    step |= (3 if here == before + 1 else 1) << (2 * window)
            steps[edge] = step


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.time_bins`."""
    year, steps = torch.empty(time.shape, dtype=torch.uint8), torch.empty(time.shape, dtype=torch.uint8)
    read = pointer, time, np.uint32(windows.movie_half_width), np.array(windows.user_half_widths, np.uint32)
    run_compiled(_time_bins, balanced_ranges(array(pointer), num_workers(time.numel())), read, [year, steps])
    return year, steps
