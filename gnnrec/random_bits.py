"""Keys and mixed bits of the project's random numbers, on arrays of torch and NumPy alike.

The mixing function is the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014), written in two's-complement 64-bit integers so that it gives the same bits on every device.
:mod:`gnnrec.rng` has the functions of tensors. Nothing here imports torch, whose import takes longer than preparing
most files.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_WORD = 1 << 64

Integers = TypeVar("Integers", "Tensor", np.ndarray)


def _wrap(value: int) -> int:
    """Returns the two's-complement 64-bit integer that equals ``value`` modulo 2**64."""
    value %= _WORD
    return value - _WORD if value >= _WORD // 2 else value


def _mix_int(value: int) -> int:
    value %= _WORD
    value = ((value ^ (value >> 30)) * (_MIX_1 % _WORD)) % _WORD
    value = ((value ^ (value >> 27)) * (_MIX_2 % _WORD)) % _WORD
    return _wrap(value ^ (value >> 31))


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


def shifted(bits: Integers, by: int) -> Integers:
    """Shifts int64 to the right logically, not arithmetically."""
    result = bits >> by
    result &= (1 << (64 - by)) - 1
    return result


def mix(stream: int, counters: Integers) -> Integers:
    """Returns 64 random bits per counter.

    Args:
        stream: Key from :func:`key`.
        counters: int64 tensor or NumPy array of any shape with a dimension, usually global ids.

    Returns:
        int64 of the same shape; all 64 bits are random, the sign included.
    """
    value = counters * _GOLDEN
    value += stream
    value ^= shifted(value, 30)
    value *= _MIX_1
    value ^= shifted(value, 27)
    value *= _MIX_2
    value ^= shifted(value, 31)
    return value
