"""Reference implementation of :mod:`gnnrec.kernels.column_order` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.lists import ByColumn
from gnnrec.kernels.ragged import offsets


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, sizes: tuple[int, int]
) -> tuple[ByColumn, ByColumn]:
    """See :func:`gnnrec.kernels.column_order.select_by_column`."""
    slot = slot.index_select(0, order)
    return _select(pointer, row, slot, sizes[0]), _select(pointer, row, -2 - slot, sizes[1])


def _select(pointer: Tensor, row: Tensor, slot: Tensor, size: int) -> ByColumn:
    """Selects the edges whose slot is not negative."""
    kept = slot >= 0
    place = torch.nonzero_static(kept, size=size).squeeze(1)
    return (
        offsets(kept)[pointer],
        row.index_select(0, place).to(torch.int32),
        slot.index_select(0, place),
    )
