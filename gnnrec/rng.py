"""Counter-based random numbers: pure functions of a key and a counter, without a generator state.

Splits, folds, shuffles, neighbor draws, initial rows and dropout masks are functions of (seed, purpose, global ids). So
the same run on 1, 2 or 8 ranks, interrupted or not, uses the same random numbers: those of
:mod:`gnnrec.random_bits`, on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.random_bits import key, mix, shifted

__all__ = ["bits", "dropout_mask", "integers", "key", "normal_rows", "permutation", "uniform"]


def bits(stream: int, counters: Tensor) -> Tensor:
    """Returns 64 random bits per counter.

    Args:
        stream: Key from :func:`key`.
        counters: int64 tensor of any shape, usually global ids.

    Returns:
        int64 tensor of the same shape; all 64 bits are random, the sign included.
    """
    return mix(stream, counters.to(torch.int64))


def integers(stream: int, counters: Tensor, below: int | Tensor) -> Tensor:
    """Returns an integer in ``[0, below)`` per counter.

    The bias of the scaled product is at most ``below / 2**31``.

    Args:
        stream: Key from :func:`key`.
        counters: int64 tensor of any shape.
        below: Exclusive upper bound, at most 2**31, a number or a tensor that broadcasts.
    """
    return (shifted(bits(stream, counters), 33) * below) >> 31


def uniform(stream: int, counters: Tensor) -> Tensor:
    """Returns a float64 number in ``[0, 1)`` per counter."""
    return shifted(bits(stream, counters), 11).to(torch.float64) * 2.0**-53


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
