"""Random numbers of :mod:`gnnrec.rng` in bulk, bit for bit, in compiled loops on CPUs."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, random_reference

_KERNELS = dispatch.KernelTable("random", random_reference)


def small_integers(stream: int, counters: Tensor, below: int) -> Tensor:
    """Returns the integers in ``[0, below)`` of :func:`gnnrec.rng.integers`, one per counter.

    Args:
        stream: Key from :func:`gnnrec.rng.key`.
        counters: int32 or int64 ``[n]``, at least 0.
        below: At most 256.

    Returns:
        uint8 ``[n]``.
    """
    return _KERNELS[counters.device.type].small_integers(stream, counters, below)
