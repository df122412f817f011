"""Reference implementation of the list arithmetic of :mod:`gnnrec.kernels.ragged` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def owners(pointer: Tensor, dtype: torch.dtype, entries: int | None) -> Tensor:
    """See :func:`gnnrec.kernels.ragged.owners`."""
    lists = torch.arange(pointer.numel() - 1, dtype=dtype, device=pointer.device)
    return torch.repeat_interleave(lists, pointer.diff().to(torch.int64), output_size=entries)


def starts_and_rows(column: Tensor, order: Tensor, owner: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.ragged.starts_and_rows`."""
    every = torch.arange(columns + 1, dtype=column.dtype, device=column.device)
    return torch.searchsorted(column, every), owner[order]
