"""Triton implementation of :mod:`gnnrec.kernels.attention_output`: a program has some receivers and one head."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Numbers of a program.
_BLOCK = 1024
_WARPS = 4


def output(numerator: Tensor, denominator: Tensor, degree: Tensor | None, bias: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.attention_output.attention_output`."""
    out = torch.empty_like(numerator, memory_format=torch.contiguous_format)
    read = numerator.contiguous(), denominator.contiguous(), degree, bias
    _run(_divide, out, denominator, *read, out)
    return out


def output_backward(
    gradient: Tensor, numerator: Tensor, denominator: Tensor, degree: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Computes the derivatives of :func:`output` by numerators and denominators."""
    outs = (torch.empty_like(like, memory_format=torch.contiguous_format) for like in (numerator, denominator))
    by_numerator, by_denominator = outs
    read = gradient.contiguous(), numerator.contiguous(), denominator.contiguous(), degree
    _run(_divide_backward, by_numerator, denominator, *read, by_numerator, by_denominator)
    return by_numerator, by_denominator


def kept(whole: Tensor, change: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.attention_output.kept_denominator`."""
    return _elementwise(_keep, whole, change)


def kept_backward(gradient: Tensor, whole: Tensor, kept: Tensor) -> Tensor:
    """Computes the derivative of :func:`kept` by the change: none where half of the whole is the maximum."""
    return _elementwise(_keep_backward, whole, gradient, kept)


def totals(numerator: Tensor, by_level: Tensor, rating: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.attention_output.attention_totals`."""
    out = torch.empty_like(numerator, memory_format=torch.contiguous_format)
    denominator = numerator.new_empty(by_level.shape[:2])
    read = numerator.contiguous(), by_level.contiguous(), rating.contiguous(), scale
    _run(_add_levels, out, denominator, *read, out, denominator, len(rating))
    return out, denominator


def totals_backward(
    gradient: Tensor, denominator_gradient: Tensor, rating: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Computes the derivatives of :func:`totals` by numerators and by attention by level."""
    by_numerator = torch.empty_like(gradient, memory_format=torch.contiguous_format)
    by_level = gradient.new_empty(*denominator_gradient.shape, len(rating))
    read = gradient.contiguous(), denominator_gradient.contiguous(), rating.contiguous(), scale
    _run(_add_levels_backward, by_numerator, denominator_gradient, *read, by_numerator, by_level, len(rating))
    return by_numerator, by_level


def _run(kernel, out: Tensor, denominator: Tensor, *arguments: Tensor | int | None) -> None:
    receivers, heads = denominator.shape
    if receivers and out.shape[1]:
        channels = out.shape[1] // heads
        across = triton.next_power_of_2(channels)
        rows = max(1, _BLOCK // across)
        with torch.cuda.device_of(out):
            kernel[(triton.cdiv(receivers, rows), heads)](
                *arguments, receivers, heads, channels, rows, across, num_warps=_WARPS
            )


def _elementwise(kernel, *tensors: Tensor) -> Tensor:
    out = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
    if out.numel():
        with torch.cuda.device_of(out):
            kernel[(triton.cdiv(out.numel(), _BLOCK),)](
                *(tensor.contiguous() for tensor in tensors), out, out.numel(), _BLOCK, num_warps=_WARPS
            )
    return out


@triton.jit
def _tile(receivers, HEADS: tl.constexpr, CHANNELS: tl.constexpr, ROWS: tl.constexpr, ACROSS: tl.constexpr):
    """Returns receivers, places of their numbers and of their denominators, and masks of both."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, ACROSS)
    inside = row < receivers
    head = tl.program_id(1)
    place = row[:, None] * (HEADS * CHANNELS) + head * CHANNELS + channel[None, :]
    return row, place, row * HEADS + head, inside, inside[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def _factors(denominator, degree, row, cell, inside):
    """Returns denominators, 1 for 0, and the factors of numerators."""
    own = tl.load(denominator + cell, mask=inside, other=0)
    safe = tl.where(own > 0, own, 1)
    factor = 1 / safe
    if degree is not None:
        factor = factor * tl.sqrt(tl.load(degree + row, mask=inside, other=0))
    return own, safe, factor


@triton.jit(do_not_specialize=["receivers"])
def _divide(
    numerator,
    denominator,
    degree,
    bias,
    out,
    receivers: tl.int64,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    row, place, cell, inside, mask = _tile(receivers, HEADS, CHANNELS, ROWS, ACROSS)
    _, _, factor = _factors(denominator, degree, row, cell, inside)
    channel = tl.arange(0, ACROSS)
    shift = tl.load(bias + tl.program_id(1) * CHANNELS + channel, mask=channel < CHANNELS, other=0)
    tl.store(out + place, tl.load(numerator + place, mask=mask, other=0) * factor[:, None] + shift[None, :], mask=mask)


@triton.jit(do_not_specialize=["receivers"])
def _divide_backward(
    gradient,
    numerator,
    denominator,
    degree,
    by_numerator,
    by_denominator,
    receivers: tl.int64,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    row, place, cell, inside, mask = _tile(receivers, HEADS, CHANNELS, ROWS, ACROSS)
    own, safe, factor = _factors(denominator, degree, row, cell, inside)
    slope = tl.load(gradient + place, mask=mask, other=0)
    tl.store(by_numerator + place, slope * factor[:, None], mask=mask)
    by_factor = tl.sum(slope * tl.load(numerator + place, mask=mask, other=0), 1)
    tl.store(by_denominator + cell, tl.where(own > 0, -by_factor * factor / safe, 0), mask=inside)


@triton.jit(do_not_specialize=["receivers"])
def _add_levels(
    numerator,
    by_level,
    rating,
    scale,
    out,
    denominator,
    LEVELS: tl.constexpr,
    receivers: tl.int64,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    row, place, cell, inside, mask = _tile(receivers, HEADS, CHANNELS, ROWS, ACROSS)
    channel = tl.arange(0, ACROSS)
    total = tl.load(numerator + place, mask=mask, other=0)
    attention = tl.zeros([ROWS], total.dtype)
    for level in range(LEVELS):
        share = tl.load(by_level + cell * LEVELS + level, mask=inside, other=0)
        own = rating + (level * HEADS + tl.program_id(1)) * CHANNELS + channel
        total += share[:, None] * tl.load(own, mask=channel < CHANNELS, other=0)[None, :]
        attention += share
    if scale is not None:
        factor = tl.load(scale + row, mask=inside, other=0)
        total = total * factor[:, None]
        attention = attention * factor
    tl.store(out + place, total, mask=mask)
    tl.store(denominator + cell, attention, mask=inside)


@triton.jit(do_not_specialize=["receivers"])
def _add_levels_backward(
    gradient,
    denominator_gradient,
    rating,
    scale,
    by_numerator,
    by_level,
    LEVELS: tl.constexpr,
    receivers: tl.int64,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    row, place, cell, inside, mask = _tile(receivers, HEADS, CHANNELS, ROWS, ACROSS)
    channel = tl.arange(0, ACROSS)
    slope = tl.load(gradient + place, mask=mask, other=0)
    attention = tl.load(denominator_gradient + cell, mask=inside, other=0)
    if scale is not None:
        factor = tl.load(scale + row, mask=inside, other=0)
        slope = slope * factor[:, None]
        attention = attention * factor
    tl.store(by_numerator + place, slope, mask=mask)
    for level in range(LEVELS):
        own = rating + (level * HEADS + tl.program_id(1)) * CHANNELS + channel
        dot = tl.sum(slope * tl.load(own, mask=channel < CHANNELS, other=0)[None, :], 1)
        tl.store(by_level + cell * LEVELS + level, attention + dot, mask=inside)


@triton.jit(do_not_specialize=["count"])
def _keep(whole, change, out, count: tl.int64, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    own = tl.load(whole + place, mask=inside, other=0)
    tl.store(out + place, tl.maximum(own + tl.load(change + place, mask=inside, other=0), 0.5 * own), mask=inside)


@triton.jit(do_not_specialize=["count"])
def _keep_backward(whole, gradient, kept, out, count: tl.int64, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    half = 0.5 * tl.load(whole + place, mask=inside, other=0)
    passed = tl.load(kept + place, mask=inside, other=0) > half
    tl.store(out + place, tl.where(passed, tl.load(gradient + place, mask=inside, other=0), 0), mask=inside)
