"""Sorts the messages and the targets of a pass by column, given the order by column of all edges of a graph."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import column_order_reference, dispatch
from gnnrec.kernels.lists import ByColumn

_KERNELS = dispatch.KernelTable("column_order", column_order_reference)


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, sizes: tuple[int, int]
) -> tuple[ByColumn, ByColumn]:
    """Selects the messages and the targets from all edges sorted by column.

    Args:
        pointer: Start of each column, int64 ``[columns + 1]``.
        row: Row of each edge by column, int32 or int64 ``[edges]``.
        order: Position by row of each edge by column, int32 or int64 ``[edges]``.
        slot: Message or target of each edge by row (:attr:`gnnrec.kernels.edges.Residuals.slot`), int32 ``[edges]``.
        sizes: Numbers of messages and of targets, which the host knows.

    Returns:
        :attr:`gnnrec.kernels.lists.CSRLists.by_column` of the messages, and of the targets: the start of each column
        among them, int64 ``[columns + 1]``, and row and place in this order, int32 ``[n]``.
    """
    return _KERNELS[slot.device.type].select_by_column(pointer, row, order, slot, sizes)
