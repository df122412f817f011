"""Lists that contain some edges of a graph, for tests of their order by column."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass
class Selection:
    """Edges, and the messages and targets among them.

    Attributes:
        edges_by_column: Pointer, row and order of all edges by column.
        slot: Message of each edge by row, ``-2 - t`` for target ``t``, -1 for neither, int32.
        pointer: Start of the messages of each row.
        entry: Column of each message, int32.
        columns: Number of columns.
        by_column: Pointer, row and order of the messages by column, from NumPy's sort.
        targets_by_column: The same of the targets.
    """

    edges_by_column: tuple[Tensor, Tensor, Tensor]
    slot: Tensor
    pointer: Tensor
    entry: Tensor
    columns: int
    by_column: tuple[Tensor, Tensor, Tensor]
    targets_by_column: tuple[Tensor, Tensor, Tensor]

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of messages and of targets."""
        return self.entry.numel(), self.targets_by_column[1].numel()


def selection(name: str) -> Selection:
    """Draws ``mixed`` messages, ``none``, ``all``, or ``no edges``; half of the other edges are targets.

    Columns have 0 to 2,100 edges, the last has none.
    """
    random = np.random.default_rng(5)
    rows, columns, edges = 40, 7, 0 if name == "no edges" else 4096
    row = np.sort(random.integers(1, rows - 1, edges))
    column = random.choice(columns, edges, p=[0.5, 0.01, 0, 0.25, 0.04, 0.2, 0])
    kept = {"mixed": random.random(edges) < 0.6, "none": np.zeros(edges, bool)}.get(name, np.ones(edges, bool))
    held_out = ~kept & (random.random(edges) < 0.5)
    slot = np.where(kept, np.cumsum(kept) - 1, np.where(held_out, -1 - np.cumsum(held_out), -1))
    entry_row, entry = row[kept], column[kept]
    return Selection(
        _sorted(row, column, columns),
        torch.from_numpy(slot.astype(np.int32)),
        torch.from_numpy(np.searchsorted(entry_row, np.arange(rows + 1))),
        torch.from_numpy(entry.astype(np.int32)),
        columns,
        _sorted(entry_row, entry, columns),
        _sorted(row[held_out], column[held_out], columns),
    )


def _sorted(row: np.ndarray, column: np.ndarray, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    order = np.argsort(column, kind="stable")
    pointer = np.searchsorted(column[order], np.arange(columns + 1))
    return torch.from_numpy(pointer), *(torch.from_numpy(part.astype(np.int32)) for part in (row[order], order))
