"""Sorts lists that contain some edges of a graph by column, given the order by column of all edges."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import column_order_reference, dispatch

_KERNELS = dispatch.KernelTable("column_order", column_order_reference)


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, entries: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Selects the entries of lists from all edges sorted by column.

    Args:
        pointer: Start of each column, int64 ``[columns + 1]``.
        row: Row of each edge by column, int32 or int64 ``[edges]``.
        order: Position by row of each edge by column, int32 or int64 ``[edges]``.
        slot: Entry of each edge by row, -1 for none, int32 ``[edges]``.
        entries: Number of entries, which the host knows.

    Returns:
        :attr:`gnnrec.kernels.lists.CSRLists.by_column` of the entries: the start of each column among them, int64
        ``[columns + 1]``, and row and entry in this order, int32 and int64 ``[entries]``.
    """
    return _KERNELS[slot.device.type].select_by_column(pointer, row, order, slot, entries)
