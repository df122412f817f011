"""Random numbers of :mod:`gnnrec.rng` for NumPy arrays: the same numbers, without torch."""

from __future__ import annotations

import numpy as np

from gnnrec.random_bits import key, mix, shifted

__all__ = ["bits", "key", "permutation", "uniform"]


def bits(stream: int, counters: np.ndarray) -> np.ndarray:
    """Returns 64 random bits per counter, int64, as :func:`gnnrec.rng.bits`.

    Args:
        stream: Key from :func:`gnnrec.random_bits.key`.
        counters: int64 array, usually of global ids.
    """
    return mix(stream, counters)


def uniform(stream: int, counters: np.ndarray) -> np.ndarray:
    """Returns a float64 number in ``[0, 1)`` per counter."""
    return shifted(bits(stream, counters), 11) * 2.0**-53


def permutation(stream: int, ids: np.ndarray) -> np.ndarray:
    """Returns a random permutation: indices that sort ``ids`` by their random bits, ties by position."""
    return np.argsort(bits(stream, ids), kind="stable")
