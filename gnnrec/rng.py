"""Counter-based random numbers: pure functions of a key and a counter, without a generator state.

Splits, folds, shuffles, neighbor draws, initial rows and dropout masks are functions of (seed, purpose, global ids). So
the same run on 1, 2 or 8 ranks, interrupted or not, uses the same random numbers. The mixing function is the finalizer
of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014), written in
two's-complement 64-bit integers so that it gives the same bits on every device.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_WORD = 1 << 64


def _wrap(value: int) -> int:
    """Returns the two's-complement 64-bit integer that equals ``value`` modulo 2**64."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _mix_int(value: int) -> int:
    value %= _WORD
    value = ((value ^ (value >> 30)) * (_MIX_1 % _WORD)) % _WORD
    value = ((value ^ (value >> 27)) * (_MIX_2 % _WORD)) % _WORD
    return _wrap(value ^ (value >> 31))


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Shifts to the right logically, not arithmetically."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def key(*parts: int | str) -> int:
    """Hashes a seed, a purpose and further distinctions into a 64-bit key.

    Args:
        parts: Integers or strings; their order matters: ``key(seed, "fold", epoch)``.
    """
    state = 0
    for part in parts:
        word = zlib.crc32(part.encode()) + ((len(part) + 1) << 32) if isinstance(part, str) else int(part)
        state = _mix_int(state + _GOLDEN + _mix_int(word + _GOLDEN))
    return state


def bits(stream: int, counters: Tensor) -> Tensor:
    """Returns 64 random bits per counter.

    Args:
        stream: Key from :func:`key`.
        counters: int64 tensor of any shape, usually global ids.

    Returns:
        int64 tensor of the same shape; all 64 bits are random, the sign included.
    """
    value = counters.to(torch.int64) * _GOLDEN
    value += stream
    value ^= _shifted(value, 30)
    value *= _MIX_1
    value ^= _shifted(value, 27)
    value *= _MIX_2
    value ^= _shifted(value, 31)
    return value


def integers(stream: int, counters: Tensor, below: int | Tensor) -> Tensor:
    """Returns an integer in ``[0, below)`` per counter.

    The bias of the scaled product is at most ``below / 2**31``.

    Args:
        stream: Key from :func:`key`.
        counters: int64 tensor of any shape.
        below: Exclusive upper bound, at most 2**31, a number or a tensor that broadcasts.
    """
    return (_shifted(bits(stream, counters), 33) * below) >> 31


def uniform(stream: int, counters: Tensor) -> Tensor:
    """Returns a float64 number in ``[0, 1)`` per counter."""
    return _shifted(bits(stream, counters), 11).to(torch.float64) * 2.0**-53


def permutation(stream: int, ids: Tensor) -> Tensor:
    """Returns a random permutation: indices that sort ``ids`` by their random bits, ties by position."""
    return torch.argsort(bits(stream, ids), stable=True)


def normal_rows(stream: int, rows: Tensor, columns: int, block: int = 65536) -> Tensor:
    """Returns standard normal table rows, which depend on their global row numbers only.

    Args:
        stream: Key from :func:`key`.
        rows: Global row numbers, int64 ``[n]``.
        columns: Columns of the table.
        block: Rows computed at a time, which bounds the float64 working memory.

    Returns:
        float32 ``[n, columns]`` (inverse error function of :func:`uniform`).
    """
    table = torch.empty(rows.numel(), columns, device=rows.device)
    column = torch.arange(columns, device=rows.device)
    for start in range(0, rows.numel(), block):
        counters = rows[start : start + block, None] * columns + column
        centered = 2 * uniform(stream, counters) + (2.0**-53 - 1)
        table[start : start + block] = torch.erfinv(centered) * 2**0.5
    return table


def dropout_mask(stream: int, rows: Tensor, columns: int, rate: float) -> Tensor:
    """Returns the keep mask of inverted dropout for table rows, a function of the global row and the column.

    Four columns share one 64-bit draw, 16 bits each, so the rate is exact to 2**-16.

    Args:
        stream: Key from :func:`key`, different for every step and place in the model.
        rows: Global row numbers, int64 ``[n]``.
        columns: Columns of the table.
        rate: Dropout rate, in ``[0, 1)``.

    Returns:
        bool ``[n, columns]``, True for values that are kept.
    """
    words = -(-columns // 4)
    counters = rows[:, None] * words + torch.arange(words, device=rows.device)
    chunks = bits(stream, counters).view(torch.int16)
    threshold = round(rate * 65536) - 32768
    return (chunks >= threshold)[:, :columns]
