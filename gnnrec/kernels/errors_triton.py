"""Triton implementation of :mod:`gnnrec.kernels.errors`: sums of the programs are added in a fixed order."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Targets of a program.
_BLOCK = 1024
_WARPS = 4


def squared_errors(
    score: Tensor, offset: Tensor, rating: Tensor, bias: Tensor | None, factor: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.errors.squared_errors`: the sum, and its derivatives."""
    targets, biases = score.numel(), 0 if bias is None else bias.shape[1]
    by_score = torch.empty_like(score, memory_format=torch.contiguous_format)
    # The sum, and derivatives by offset and factors, of each program.
    sums = score.new_empty(triton.cdiv(targets, _BLOCK), 2 + biases)
    total, others = score.new_empty(()), score.new_empty(1 + biases)
    optional = (None if one is None else one.contiguous() for one in (bias, factor))
    with torch.cuda.device_of(score):
        if targets:
            read = score.contiguous(), offset, rating.contiguous(), *optional
            _errors[(len(sums),)](*read, by_score, sums, targets, biases, _BLOCK, num_warps=_WARPS)
        _add_sums[(1,)](sums, total, others, len(sums), 2 + biases, *_tile(2 + biases), num_warps=_WARPS)
    return total, by_score, others


def _tile(columns: int) -> tuple[int, int]:
    """Returns the rows and columns that the last program reads at a time."""
    across = triton.next_power_of_2(columns)
    return max(1, _BLOCK // across), across


@triton.jit(do_not_specialize=["targets"])
def _errors(
    score,
    offset,
    rating,
    bias,
    factor,
    by_score,
    sums,
    targets: tl.int64,
    BIASES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    place = number * BLOCK + tl.arange(0, BLOCK)
    inside = place < targets
    error = tl.load(offset) + tl.load(score + place, mask=inside, other=0)
    error = tl.where(inside, error - tl.load(rating + place, mask=inside, other=0), 0)
    own = sums + number * (2 + BIASES)
    if bias is None:
        slope = 2 * error
        tl.store(own, tl.sum(error * error, 0))
    else:
        timed = error
        for column in tl.static_range(BIASES):
            timed += tl.load(bias + place * BIASES + column, mask=inside, other=0) * tl.load(factor + column)
        slope = error + timed
        tl.store(own, tl.sum(error * error + timed * timed, 0) / 2)
        for column in tl.static_range(BIASES):
            read = tl.load(bias + place * BIASES + column, mask=inside, other=0)
            tl.store(own + 2 + column, tl.sum(timed * read, 0))
    tl.store(own + 1, tl.sum(slope, 0))
    tl.store(by_score + place, slope, mask=inside)


@triton.jit(do_not_specialize=["count"])
def _add_sums(sums, total, others, count: tl.int64, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    column = tl.arange(0, COLUMNS)
    found = tl.zeros([ROWS, COLUMNS], sums.dtype.element_ty)
    for start in range(0, count, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < count)[:, None] & (column < WIDTH)[None, :]
        found += tl.load(sums + row[:, None] * WIDTH + column[None, :], mask=mask, other=0)
    every = tl.sum(found, 0)
    tl.store(total + column, every, mask=column == 0)
    tl.store(others + column - 1, every, mask=(column > 0) & (column < WIDTH))
