"""Table rows of users, read when they are needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnrec.graph.partition import Partition
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.read import pick_rows, read_rows


@dataclasses.dataclass(frozen=True)
class UserRows:
    """Rows in a checkpoint whose checksums have been compared.

    Attributes:
        directory: The checkpoint.
        info: Its description.
        device: Where rows go.
    """

    directory: Path
    info: CheckpointInfo
    device: torch.device

    def read(self, users: range) -> dict[str, Tensor]:
        """Rows of some users, by global rows."""
        part = Partition((users.start, users.stop), 0, 1)
        rows = read_rows(self.directory, "users", self.info, part, verified=True)
        return {name: table.to(self.device) for name, table in rows.items()}

    def pick(self, users: np.ndarray) -> dict[str, Tensor]:
        """Rows of users anywhere, by global rows, int64 ``[n]``."""
        rows = pick_rows(self.directory, "users", self.info, torch.from_numpy(users))
        return {name: table.to(self.device) for name, table in rows.items()}


@dataclasses.dataclass(frozen=True)
class NewUserRows:
    """Rows of users of whom some are known. The others have rows of zeros: what L2 pulls rows to.

    Attributes:
        known: Rows of known users.
        known_row: Row of each user among these, -1 for new ones: int64 ``[users]``.
    """

    known: UserRows
    known_row: np.ndarray

    def read(self, users: range) -> dict[str, Tensor]:
        """Rows of some users, by their places in :attr:`known_row`."""
        chosen = self.known_row[users.start : users.stop]
        there = chosen >= 0
        # At least one row tells the shapes.
        picked = self.known.pick(chosen[there] if there.any() else np.zeros(1, np.int64))
        places = torch.from_numpy(np.flatnonzero(there)).to(self.known.device)
        found = {name: table.new_zeros(len(chosen), *table.shape[1:]) for name, table in picked.items()}
        for name, table in found.items():
            table[places] = picked[name][: len(places)]
        return found
