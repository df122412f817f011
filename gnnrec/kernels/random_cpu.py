"""Random bits of :mod:`gnnrec.rng` in compiled loops, and CPU implementation of :mod:`gnnrec.kernels.random`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.threads import equal_ranges, num_workers, run_compiled, unsigned

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@compiled
def bits(stream, counter):
    """Returns the 64 random bits of :func:`gnnrec.rng.bits`."""
    value = np.uint64(counter) * _GOLDEN + stream
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@compiled
def _small_integers(stream, counters, below, first, last, out):
    for i in range(first, last):
        out[i] = ((bits(stream, counters[i]) >> np.uint64(33)) * below) >> np.uint64(31)


def small_integers(stream: int, counters: Tensor, below: int) -> Tensor:
    """See :func:`gnnrec.kernels.random.small_integers`."""
    out = torch.empty(counters.shape, dtype=torch.uint8)
    ranges = equal_ranges(counters.numel(), num_workers(counters.numel()))
    run_compiled(_small_integers, ranges, [unsigned(stream), counters, np.uint64(below)], [out])
    return out
