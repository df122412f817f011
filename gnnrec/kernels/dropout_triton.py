"""Triton implementation of :mod:`gnnrec.kernels.dropout`: one kernel a call, which draws the mask in registers."""

from __future__ import annotations

import struct

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.random_triton import bits

#: Words of 64 random bits of a program, each for four columns of a row; fewer in float64, which takes two registers.
_BLOCK = 512
_BLOCK_OF_FLOAT64 = 128
_WARPS = 4


def dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.dropout`."""
    return _forward(states, rows, stream, rate, tanh=False)


def tanh_dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.tanh_dropout`."""
    return _forward(states, rows, stream, rate, tanh=True)


def _forward(states: Tensor, rows: Tensor, stream: int, rate: float, tanh: bool) -> Tensor:
    out = torch.empty_like(states, memory_format=torch.contiguous_format)
    if out.numel():
        grid, sizes = _launch(*states.shape, states.dtype)
        read = rows.contiguous(), states, *states.stride()
        with torch.cuda.device_of(states):
            _drop[grid](stream, *_rate(rate)[:2], *read, out, len(states), tanh, *sizes, num_warps=_WARPS)
    return out


def tanh_dropout_backward(gradient: Tensor, out: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout_reference.tanh_dropout_backward`."""
    result = torch.empty_like(out, memory_format=torch.contiguous_format)
    if out.numel():
        grid, sizes = _launch(*out.shape, out.dtype)
        read = rows.contiguous(), gradient, *gradient.stride(), out, *out.stride()
        with torch.cuda.device_of(out):
            _drop_backward[grid](stream, *_rate(rate), *read, result, len(out), *sizes, num_warps=_WARPS)
    return result


def _rate(rate: float) -> tuple[int, int, int]:
    """Returns the threshold of the mask, and the bits of ``1 / (1 - rate)`` and of ``1 - rate`` in double precision.

    Triton passes Python floats in single precision.
    """
    factor, kept = struct.unpack("<2q", struct.pack("<2d", 1 / (1 - rate), 1 - rate))
    return round(rate * 65536) - 32768, factor, kept


def _launch(rows: int, width: int, dtype: torch.dtype) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Returns the grid, and the width, the rows and the words of a row that a program has, and the size of its tile."""
    block, words = _BLOCK_OF_FLOAT64 if dtype == torch.float64 else _BLOCK, triton.cdiv(width, 4)
    span = min(words, block)
    per_program = block // span
    return (triton.cdiv(rows, per_program), triton.cdiv(words, span)), (width, per_program, span, block)


@triton.jit
def _draw(
    stream, threshold, rows, count, WIDTH: tl.constexpr, ROWS: tl.constexpr, SPAN: tl.constexpr, BLOCK: tl.constexpr
):
    """Returns row, column, and masks of values that exist and of values that are kept, for a tile ``[BLOCK, 4]``."""
    number, part = tl.arange(0, BLOCK), tl.arange(0, 4)
    row = tl.program_id(0).to(tl.int64) * ROWS + number // SPAN
    word = tl.program_id(1) * SPAN + number % SPAN
    inside = (number < ROWS * SPAN) & (row < count)
    counter = tl.load(rows + row, mask=inside, other=0).to(tl.int64) * ((WIDTH + 3) // 4) + word
    chunk = bits(stream, counter)[:, None] >> (16 * part)[None, :].to(tl.uint64)
    column = 4 * word[:, None] + part[None, :]
    kept = chunk.to(tl.int16).to(tl.int32) >= threshold
    return row[:, None], column.to(tl.int64), inside[:, None] & (column < WIDTH), kept


@triton.jit
def _number(double_bits, like):
    """Returns a number that is passed as the bits of a double, in float64 for float64 values, else in float32."""
    double = double_bits.to(tl.int64).to(tl.float64, bitcast=True)
    return double if like.dtype == tl.float64 else double.to(tl.float32)


@triton.jit
def _exact(value):
    """Converts bfloat16 to float32."""
    return value if value.dtype == tl.float64 else value.to(tl.float32)


@triton.jit
def _tanh(value):
    """Computes tanh, exact to some units in the last place for small values too.

    With ``e = exp(-2 |x|)``, the difference ``e - 1`` loses digits near 0. ``(e - 1) / log(e)`` does not, because it
    takes the error of ``e`` in both places.
    """
    twice = -2 * tl.abs(value)
    power = tl.exp(twice)
    near = (power > 0.3) & (power < 1)
    ratio = (power - 1) / tl.log(tl.where(near, power, 0.5))
    minus_one = tl.where(near, ratio * twice, tl.where(power < 1, power - 1, twice))
    positive = -minus_one / (2 + minus_one)
    return tl.where(value < 0, -positive, positive)


@triton.jit(do_not_specialize=["stream", "threshold", "factor", "count"])
def _drop(
    stream: tl.int64,
    threshold: tl.int32,
    factor: tl.int64,
    rows,
    states,
    row_stride,
    column_stride,
    out,
    count: tl.int64,
    TANH: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, column, inside, kept = _draw(stream, threshold, rows, count, WIDTH, ROWS, SPAN, BLOCK)
    value = _exact(tl.load(states + row * row_stride + column * column_stride, mask=inside, other=0))
    if TANH:
        value = _tanh(value)
    value *= tl.where(kept, _number(factor, value), 0)
    tl.store(out + row * WIDTH + column, value, mask=inside)


@triton.jit(do_not_specialize=["stream", "threshold", "factor", "keep", "count"])
def _drop_backward(
    stream: tl.int64,
    threshold: tl.int32,
    factor: tl.int64,
    keep: tl.int64,
    rows,
    gradient,
    gradient_row_stride,
    gradient_column_stride,
    states,
    row_stride,
    column_stride,
    out,
    count: tl.int64,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row, column, inside, kept = _draw(stream, threshold, rows, count, WIDTH, ROWS, SPAN, BLOCK)
    places = gradient + row * gradient_row_stride + column * gradient_column_stride
    slope = _exact(tl.load(places, mask=inside, other=0))
    tanh = _exact(tl.load(states + row * row_stride + column * column_stride, mask=inside, other=0))
    tanh *= _number(keep, tanh)
    slope *= tl.where(kept, _number(factor, slope), 0) * (1 - tanh * tanh)
    tl.store(out + row * WIDTH + column, slope, mask=inside)
