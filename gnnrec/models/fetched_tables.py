"""User rows in the memory of the host, from which the rows of a batch are fetched to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gnnrec.models.tables import NodeTables


class FetchedTables(NodeTables):
    """Tables on the host whose rows are computed with on another device. Gradients come back to the host.

    Where some users are chosen, gradients of tables are sparse: they hold these rows alone.

    Attributes:
        compute_device: Where rows are fetched to.
    """

    compute_device = torch.device("cpu")

    def rows(self, chosen: Tensor | slice | None = None) -> dict[str, Tensor]:
        tables = self.tables()
        if isinstance(chosen, Tensor):
            chosen = chosen.to("cpu")
            return {name: _Fetch.apply(table, chosen, self.compute_device) for name, table in tables.items()}
        whole = slice(None) if chosen is None else chosen
        return {name: table[whole].to(self.compute_device) for name, table in tables.items()}


class _Fetch(torch.autograd.Function):
    """Some rows of a table, on another device, with a sparse gradient."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, chosen: Tensor, device: torch.device) -> Tensor:
        ctx.save_for_backward(chosen)
        ctx.shape = table.shape
        return table.index_select(0, chosen).to(device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (chosen,) = ctx.saved_tensors
        rows = torch.sparse_coo_tensor(chosen[None], gradient.to("cpu"), ctx.shape, check_invariants=False)
        # In the order of rows: mapped files are then read and written in their order.
        return rows.coalesce(), None, None
