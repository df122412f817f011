"""Sorts within ragged lists."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, sorting_reference

_KERNELS = dispatch.KernelTable("sorting", sorting_reference)


def sort_within(pointer: Tensor, key: Tensor) -> Tensor:
    """Returns the order that sorts the keys of each list stably.

    Args:
        pointer: Start of each list, int64 ``[lists + 1]``.
        key: Integers ``[entries]``.

    Returns:
        Positions, int32 or int64 ``[entries]``; lists keep their positions.
    """
    return _KERNELS[pointer.device.type].sort_within(pointer, key)
