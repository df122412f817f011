"""Counter-based random numbers: functions of what is asked for, not of who asks or in which order.

Split, fold, shuffle, neighbour draws, initial rows and dropout masks are all functions of (seed, purpose, global ids).
So the same run on 1, 2 or 8 ranks, interrupted or not, sees the same data. The mixing function is the finaliser of
SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014), written in
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
    """The two's-complement 64-bit integer that equals ``value`` modulo 2**64."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _mix_int(value: int) -> int:
    value %= _WORD
    value = ((value ^ (value >> 30)) * (_MIX_1 % _WORD)) % _WORD
    value = ((value ^ (value >> 27)) * (_MIX_2 % _WORD)) % _WORD
    return _wrap(value ^ (value >> 31))


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Logical (not arithmetic) shift to the right."""
    return (bits >> by).bitwise_and_((1 << (64 - by)) - 1)


def key(*parts: int | str) -> int:
    """One 64-bit key from a seed, a purpose and whatever else tells streams apart.

    Args:
        parts: Integers or strings, in an order that matters: ``key(seed, "fold", epoch)``.
    """
    state = 0
    for part in parts:
        word = zlib.crc32(part.encode()) + ((len(part) + 1) << 32) if isinstance(part, str) else int(part)
        state = _mix_int(state + _GOLDEN + _mix_int(word + _GOLDEN))
    return state


def bits(stream: int, counters: Tensor) -> Tensor:
    """64 random bits for each counter.

    Args:
        stream: A key made by :func:`key`.
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
    """Integers in ``[0, below)``, one for each counter.

    The bias of the scaled product is at most ``below / 2**31``.

    Args:
        stream: A key made by :func:`key`.
        counters: int64 tensor of any shape.
        below: Upper bound (exclusive), at most 2**31, a number or a tensor that broadcasts.
    """
    return (_shifted(bits(stream, counters), 33) * below) >> 31


def uniform(stream: int, counters: Tensor) -> Tensor:
    """float64 numbers in ``[0, 1)``, one for each counter."""
    return _shifted(bits(stream, counters), 11).to(torch.float64) * 2.0**-53


def permutation(stream: int, ids: Tensor) -> Tensor:
    """A random order of ``ids``: indices that sort them by their random bits (ties by position)."""
    return torch.argsort(bits(stream, ids), stable=True)


def normal_rows(stream: int, rows: Tensor, columns: int, block: int = 65536) -> Tensor:
    """Standard normal numbers for whole table rows; a row is the same on whichever rank it lives.

    Args:
        stream: A key made by :func:`key`.
        rows: Global row numbers, int64 ``[n]``.
        columns: Numbers a row.
        block: Rows made at a time, which bounds the float64 working memory.

    Returns:
        float32 tensor ``[n, columns]`` (inverse error function of :func:`uniform`).
    """
    table = torch.empty(rows.numel(), columns, device=rows.device)
    column = torch.arange(columns, device=rows.device)
    for start in range(0, rows.numel(), block):
        counters = rows[start : start + block, None] * columns + column
        centred = 2 * uniform(stream, counters) + (2.0**-53 - 1)
        table[start : start + block] = torch.erfinv(centred) * 2**0.5
    return table


def dropout_mask(stream: int, rows: Tensor, columns: int, rate: float) -> Tensor:
    """Keep-mask of inverted dropout for table rows, a function of the global row and the column.

    Four columns share one 64-bit draw, 16 bits each, so the rate is met to 2**-16.

    Args:
        stream: A key made by :func:`key`, different for every step and place in the model.
        rows: Global row numbers, int64 ``[n]``.
        columns: Columns of the table.
        rate: Share that is dropped, in ``[0, 1)``.

    Returns:
        Boolean tensor ``[n, columns]``, true where the value is kept.
    """
    words = -(-columns // 4)
    counters = rows[:, None] * words + torch.arange(words, device=rows.device)
    chunks = bits(stream, counters).view(torch.int16)
    threshold = round(rate * 65536) - 32768
    return (chunks >= threshold)[:, :columns]
