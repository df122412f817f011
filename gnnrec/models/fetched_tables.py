"""User rows in host memory; the rows of a batch are fetched to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gnnrec.models.tables import NodeTables


class FetchedTables(NodeTables):
    """Tables on the host whose rows are copied to another device. Gradients are copied back to the host.

    Selecting rows by index gives sparse gradients, which hold these rows only.

    Attributes:
        compute_device: Device that rows are copied to.
    """

    compute_device = torch.device("cpu")

    def rows(self, index: Tensor | slice | None = None) -> dict[str, Tensor]:
        tables = self.tables() if self.x is None else {**self.tables(), "x": self.x}
        if isinstance(index, Tensor):
            index = index.to("cpu")
            return {name: _Fetch.apply(table, index, self.compute_device) for name, table in tables.items()}
        span = slice(None) if index is None else index
        return {name: table[span].to(self.compute_device) for name, table in tables.items()}


class _Fetch(torch.autograd.Function):
    """Copies rows of a table to another device; its gradient is sparse."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, device: torch.device) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = table.shape
        return table.index_select(0, index).to(device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        rows = torch.sparse_coo_tensor(index[None], gradient.to("cpu"), ctx.shape, check_invariants=False)
        # Coalescing sorts the rows, so that mapped files are read and written sequentially.
        return rows.coalesce(), None, None
