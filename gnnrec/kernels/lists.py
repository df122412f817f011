"""Ragged lists of entries, such as the movies that each user rated, with a factor for each entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.kernels.ragged import owners, starts_and_rows

ByColumn = tuple[Tensor, Tensor, Tensor]


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
        select: Computes :attr:`by_column` where that is cheaper than a sort; None to sort.
    """

    pointer: Tensor
    entry: Tensor
    columns: int
    factor: Tensor | None = None
    weight: float = 1.0
    row_scale: Tensor | None = None
    select: Callable[[], ByColumn] | None = None

    def __post_init__(self) -> None:
        self._computed: dict = {}  # shared with lists of the same entries

    @property
    def rows(self) -> int:
        return self.pointer.numel() - 1

    @property
    def owner(self) -> Tensor:
        """Row of each entry, int32 ``[entries]``; computed once."""
        if "owner" not in self._computed:
            self._computed["owner"] = owners(self.pointer, entries=self.entry.numel())
        return self._computed["owner"]

    @property
    def by_column(self) -> ByColumn:
        """Entries sorted by column: pointer int64 ``[columns + 1]``, row int32, order int32 or int64 ``[entries]``.

        For sums over columns without atomic additions, on GPUs. Computed once.
        """
        if "by_column" not in self._computed:
            self._computed["by_column"] = self._sorted() if self.select is None else self.select()
        return self._computed["by_column"]

    def _sorted(self) -> ByColumn:
        column, order = torch.sort(self.entry, stable=True)
        return *starts_and_rows(column, order, self.owner, self.columns), order

    def replace(self, **values) -> CSRLists:
        """Returns the same entries with another factor, weight or row scale.

        Both share :attr:`owner` and :attr:`by_column`, whichever of them computes these first.
        """
        other = dataclasses.replace(self, **values)
        other._computed = self._computed
        return other
