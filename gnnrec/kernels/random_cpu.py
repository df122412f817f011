"""Compiled loops over the counters of :mod:`gnnrec.counters`: the same bits, without temporaries."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from gnnrec.kernels.simd import OPTIONS
from gnnrec.kernels.threads import array, run, stretches, workers

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD = 1 << 64


@njit(**OPTIONS)
def _bits(stream, counter):
    value = np.uint64(counter) * _GOLDEN + stream
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@njit(**OPTIONS)
def _small_integers(stream, counters, below, first, last, out):
    for i in range(first, last):
        out[i] = ((_bits(stream, counters[i]) >> np.uint64(33)) * below) >> np.uint64(31)


@njit(**OPTIONS)
def _dropout(stream, rows, threshold, factor, states, first, last, out):
    width = states.shape[1]
    words = (width + 3) // 4
    for i in range(first, last):
        for word in range(words):
            bits = _bits(stream, np.uint64(rows[i] * words + word))
            for lane in range(min(4, width - 4 * word)):
                chunk = np.int16((bits >> np.uint64(16 * lane)) & np.uint64(0xFFFF))
                column = 4 * word + lane
                out[i, column] = states[i, column] * factor if chunk >= threshold else 0


def small_integers(stream: int, counters: Tensor, below: int) -> Tensor:
    """uint8 integers below ``below`` (at most 256), as :func:`gnnrec.counters.integers` gives them."""
    out = torch.empty(counters.shape, dtype=torch.uint8)
    key, read, written = np.uint64(stream % _WORD), array(counters), array(out)

    def work(number: int, first: int, last: int) -> None:
        _small_integers(key, read, np.uint64(below), first, last, written)

    run(work, stretches(counters.numel(), workers(counters.numel())))
    return out


def dropout(stream: int, rows: Tensor, states: Tensor, rate: float) -> Tensor:
    """``states`` over ``1 - rate``, or 0 where :func:`gnnrec.counters.dropout_mask` drops."""
    states = states.contiguous()
    out = torch.empty_like(states)
    key, threshold = np.uint64(stream % _WORD), np.int16(round(rate * 65536) - 32768)
    factor = array(states).dtype.type(1 / (1 - rate))
    read_rows, read, written = array(rows), array(states), array(out)

    def work(number: int, first: int, last: int) -> None:
        _dropout(key, read_rows, threshold, factor, read, first, last, written)

    run(work, stretches(len(states), workers(states.numel())))
    return out
