"""Sorting within ragged lists."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, sorting_reference


def sort_within(pointer: Tensor, key: Tensor) -> Tensor:
    """A stable order in which the keys of each list ascend.

    Args:
        pointer: Where each list starts, int64 ``[lists + 1]``.
        key: Integers ``[entries]``.

    Returns:
        Positions, int32 or int64 ``[entries]``; lists stay where they are.
    """
    return dispatch.choose(pointer.device, "sorting", sorting_reference).sort_within(pointer, key)
