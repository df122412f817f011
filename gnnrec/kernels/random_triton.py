"""Random bits of :mod:`gnnrec.rng` in Triton, and Triton implementation of :mod:`gnnrec.kernels.random`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_GOLDEN = tl.constexpr(0x9E3779B97F4A7C15)
_MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
_MIX_2 = tl.constexpr(0x94D049BB133111EB)
#: Numbers of a program.
_BLOCK = 1024


@triton.jit
def bits(stream, counter):
    """Returns the 64 random bits of :func:`gnnrec.rng.bits`, as uint64."""
    value = counter.to(tl.int64).to(tl.uint64, bitcast=True) * _GOLDEN
    value += stream.to(tl.int64).to(tl.uint64, bitcast=True)
    value = (value ^ (value >> 30)) * _MIX_1
    value = (value ^ (value >> 27)) * _MIX_2
    return value ^ (value >> 31)


@triton.jit
def integers(stream, counter, below):
    """Returns the integers in ``[0, below)`` of :func:`gnnrec.rng.integers`, as int64."""
    return ((bits(stream, counter) >> 33).to(tl.int64) * below) >> 31


def small_integers(stream: int, counters: Tensor, below: int) -> Tensor:
    """See :func:`gnnrec.kernels.random.small_integers`."""
    out = torch.empty(counters.shape, dtype=torch.uint8, device=counters.device)
    count = counters.numel()
    if count:
        with torch.cuda.device_of(counters):
            _small_integers[(triton.cdiv(count, _BLOCK),)](
                stream, counters, counters.stride(0), below, out, count, _BLOCK, num_warps=4
            )
    return out


@triton.jit(do_not_specialize=["stream", "below", "count"])
def _small_integers(stream: tl.int64, counters, stride, below: tl.int64, out, count: tl.int64, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    counter = tl.load(counters + place * stride, mask=inside, other=0)
    tl.store(out + place, integers(stream, counter, below).to(tl.uint8), mask=inside)
