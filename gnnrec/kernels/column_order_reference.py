"""Reference implementation of :mod:`gnnrec.kernels.column_order` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.ragged import offsets


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, entries: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.column_order.select_by_column`."""
    entry = slot.index_select(0, order)
    kept = entry >= 0
    place = torch.nonzero_static(kept, size=entries).squeeze(1)
    return (
        offsets(kept)[pointer],
        row.index_select(0, place).to(torch.int32),
        entry.index_select(0, place).to(torch.int64),
    )
