"""Triton implementation of ``window_sums`` and ``time_bins`` of :mod:`gnnrec.kernels.statistics`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.edges import TimeBins

#: Edges that a program processes at a time.
_ROWS = 64
#: Edges that a program sums at a time for each of its query times.
_ENTRIES = 16
#: Query times that a program sums at a time.
_QUERIES = 16


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half_width: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    out, users = left.new_empty(query_time.numel(), 2), pointer.numel() - 1
    if users and query_time.numel():
        with torch.cuda.device_of(out):
            _sum_windows[(users,)](
                pointer, time, left, half_width, query_pointer, query_time, out, _QUERIES, _ENTRIES, num_warps=1
            )
    return out


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.time_bins`."""
    year, steps = torch.empty_like(time, dtype=torch.uint8), torch.empty_like(time, dtype=torch.uint8)
    users = pointer.numel() - 1
    if users and time.numel():
        with torch.cuda.device_of(time):
            _time_bins[(users,)](
                pointer, time, windows.movie_half_width, windows.user_half_widths, year, steps, _ROWS, num_warps=1
            )
    return year, steps


@triton.jit
def _first_at_least(time, begin, end, moment):
    """Returns the first edge of a user with at least this time, for each moment; int64."""
    low = moment * 0 + begin
    high = moment * 0 + end
    size = end - begin
    # Each pass halves the range, which has size + 1 possible results.
    while size > 0:
        middle = (low + high) // 2
        searching = low < high
        before = searching & (tl.load(time + middle, mask=searching, other=0).to(tl.int64) < moment)
        low = tl.where(before, middle + 1, low)
        high = tl.where(searching & (before == 0), middle, high)
        size = size // 2
    return low


@triton.jit(do_not_specialize=["half_width"])
def _sum_windows(
    pointer,
    time,
    left,
    half_width,
    query_pointer,
    query_time,
    out,
    QUERIES: tl.constexpr,
    ENTRIES: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64)
    begin = tl.load(pointer + user)
    end = tl.load(pointer + user + 1)
    last = tl.load(query_pointer + user + 1)
    width = half_width.to(tl.int64)
    # Division rounds towards zero, so that times are shifted by a multiple of the width until none is negative.
    shift = (2147483648 // width + 1) * width
    for start in range(tl.load(query_pointer + user), last, QUERIES):
        query = start + tl.arange(0, QUERIES)
        inside = query < last
        moment = tl.load(query_time + query, mask=inside, other=0).to(tl.int64)
        first = (moment + shift) // width * width - shift
        first_edge = _first_at_least(time, begin, end, first - width)
        own_edge = _first_at_least(time, begin, end, first)
        later_edge = _first_at_least(time, begin, end, first + width)
        end_edge = _first_at_least(time, begin, end, first + 2 * width)
        total = tl.zeros([QUERIES, ENTRIES], out.dtype.element_ty)
        longest = tl.max(tl.where(inside, end_edge - first_edge, 0), 0)
        for offset in range(0, longest, ENTRIES):
            edge = first_edge[:, None] + offset + tl.arange(0, ENTRIES)[None, :]
            mask = inside[:, None] & (edge < end_edge[:, None])
            read = tl.load(left + edge, mask=mask, other=0)
            twice = (edge >= own_edge[:, None]) & (edge < later_edge[:, None])
            total += tl.where(twice, 2 * read, read)
        count = end_edge - first_edge + later_edge - own_edge
        tl.store(out + 2 * query, tl.sum(total, 1), mask=inside)
        tl.store(out + 2 * query + 1, count.to(total.dtype), mask=inside)


@triton.jit(do_not_specialize=["movie_half_width"])
def _time_bins(
    pointer,
    time,
    movie_half_width,
    HALF_WIDTHS: tl.constexpr,
    year,
    steps,
    ROWS: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64)
    begin = tl.load(pointer + user)
    end = tl.load(pointer + user + 1)
    for start in range(begin, end, ROWS):
        edge = start + tl.arange(0, ROWS)
        inside = edge < end
        now = tl.load(time + edge, mask=inside, other=0).to(tl.int64)
        before = tl.load(time + edge - 1, mask=inside & (edge > begin), other=0).to(tl.int64)
        tl.store(year + edge, (now // movie_half_width).to(tl.uint8), mask=inside)
        step = tl.zeros([ROWS], tl.int32)
        for window in tl.static_range(len(HALF_WIDTHS)):
            first = now // HALF_WIDTHS[window] * HALF_WIDTHS[window]
            starts = (edge == begin) | (before < first)
            # The bin before is nonempty if an edge has a time in it.
            other = _first_at_least(time, begin, end, first - HALF_WIDTHS[window])
            follows = tl.load(time + other, mask=inside & (other < end), other=0).to(tl.int64) < first
            step |= (starts.to(tl.int32) | (follows.to(tl.int32) << 1)) << (2 * window)
        tl.store(steps + edge, step.to(tl.uint8), mask=inside)
