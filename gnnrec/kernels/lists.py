"""Ragged lists of entries, such as the movies that each user rated, with a factor for each entry."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.kernels.ragged import owners


@dataclasses.dataclass
class CSRLists:
    """Entries of consecutive lists: a sparse matrix by rows (CSR), with ``weight`` or ``factor`` as its values.

    Attributes:
        pointer: Start of each list, int64 ``[rows + 1]``.
        entry: Columns, int32 ``[entries]``.
        columns: Number of columns.
        factor: Second value of each entry, float ``[entries]``; None with one table only.
        weight: First value, the same for all entries.
        row_scale: Factor of all values of a row, float ``[rows]``; None for ones.
    """

    pointer: Tensor
    entry: Tensor
    columns: int
    factor: Tensor | None = None
    weight: float = 1.0
    row_scale: Tensor | None = None

    @property
    def rows(self) -> int:
        return self.pointer.numel() - 1

    @cached_property
    def owner(self) -> Tensor:
        """Row of each entry, int32 ``[entries]``."""
        return owners(self.pointer, entries=self.entry.numel())

    @cached_property
    def by_column(self) -> tuple[Tensor, Tensor, Tensor]:
        """Entries sorted by column: pointer int64 ``[columns + 1]``, row int32 and order int64 ``[entries]``.

        For sums over columns without atomic additions, on GPUs.
        """
        column, order = torch.sort(self.entry, stable=True)
        every = torch.arange(self.columns + 1, dtype=column.dtype, device=column.device)
        return torch.searchsorted(column, every), self.owner[order], order

    def replace(self, **values) -> CSRLists:
        """Returns the same entries with another factor, weight or row scale; keeps cached properties."""
        other = dataclasses.replace(self, **values)
        other.__dict__.update({name: self.__dict__[name] for name in ("owner", "by_column") if name in self.__dict__})
        return other
