"""Table rows of users, read from the checkpoint on demand."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.graph.partition import Partition
from gnnrec.models.features import load_features, pick_features
from gnnrec.models.row_memory import RowMemory
from gnnrec.training.checkpoint.rows import RowFiles


@dataclasses.dataclass(frozen=True)
class UserRows:
    """Rows in a checkpoint whose checksums have been verified.

    Attributes:
        files: The files of the checkpoint.
        device: Device of the rows.
        features: Features of all users, which are among the rows as ``x``; None without.
    """

    files: RowFiles
    device: torch.device
    features: NodeFeatures | None = None

    def read(self, users: range) -> dict[str, Tensor]:
        """Reads a range of users by global rows."""
        part = Partition((users.start, users.stop), 0, 1)
        rows = self.files.read(part)
        if self.features is not None:
            rows["x"] = load_features(self.features, part, RowMemory(torch.device("cpu")))
        return {name: table.to(self.device) for name, table in rows.items()}

    def pick(self, users: np.ndarray) -> dict[str, Tensor]:
        """Reads arbitrary users by global rows, int64 ``[n]``."""
        rows = self.files.pick(torch.from_numpy(users))
        if self.features is not None:
            rows["x"] = pick_features(self.features, users)
        return {name: table.to(self.device) for name, table in rows.items()}


@dataclasses.dataclass(frozen=True)
class NewUserRows:
    """Rows of known and new users. New users have rows of zeros, to which L2 shrinks rows.

    Attributes:
        known: Rows of known users.
        known_row: Row of each user among the known users, -1 for new ones: int64 ``[users]``.
        x: Features of new users, float32 ``[users, columns]``; None for zeros.
    """

    known: UserRows
    known_row: np.ndarray
    x: np.ndarray | None = None

    def read(self, users: range) -> dict[str, Tensor]:
        """Reads a range of users by their positions in :attr:`known_row`."""
        known_row = self.known_row[users.start : users.stop]
        is_known = known_row >= 0
        # One row is read even without known users, for the shapes.
        rows = self.known.pick(known_row[is_known] if is_known.any() else np.zeros(1, np.int64))
        positions = torch.from_numpy(np.flatnonzero(is_known)).to(self.known.device)
        tables = {name: table.new_zeros(len(known_row), *table.shape[1:]) for name, table in rows.items()}
        for name, table in tables.items():
            table[positions] = rows[name][: len(positions)]
        if "x" in tables and self.x is not None:
            new = np.flatnonzero(~is_known)
            tables["x"][torch.from_numpy(new).to(self.known.device)] = torch.from_numpy(self.x[users.start + new]).to(
                tables["x"]
            )
        return tables
