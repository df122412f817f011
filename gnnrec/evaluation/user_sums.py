"""Sums over the held-out ratings of single users, from which the metrics of any sample of users follow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.distributed.world import World


@dataclasses.dataclass(frozen=True)
class UserSums:
    """Sums of single users.

    Attributes:
        user: Rows of the users with held-out ratings, ascending, int64 ``[users]``.
        count: Number of values that each user's sums are over: ratings, or 1 for metrics of rankings, float64
            ``[users]``.
        sums: Metric -> sum of the values, float64 ``[users]``; for RMSE of squared errors.
    """

    user: np.ndarray
    count: np.ndarray
    sums: dict[str, np.ndarray]

    def metrics(self, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Computes metrics of weighted users.

        Args:
            weight: How often each user occurs, float64 ``[..., users]``.

        Returns:
            Metric -> float64 ``[...]``.
        """
        total = weight @ self.count
        means = {name: weight @ values / total for name, values in self.sums.items()}
        return {name: np.sqrt(mean) if name.startswith("rmse") else mean for name, mean in means.items()}

    def gathered(self, first_row: int, world: World) -> UserSums:
        """Joins the users of all ranks; every rank calls this.

        Args:
            first_row: Row of the dataset that is row 0 of this rank.
            world: The ranks.
        """
        parts = world.all_gather_objects((self.user + first_row, self.count, self.sums))
        user, count = (np.concatenate([part[place] for part in parts]) for place in range(2))
        return UserSums(user, count, {name: np.concatenate([part[2][name] for part in parts]) for name in self.sums})

    def save(self, path: Path) -> None:
        """Writes a file that :meth:`read` reads."""
        arrays: dict[str, Any] = {"user": self.user, "count": self.count} | self.sums
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    @staticmethod
    def read(path: Path) -> UserSums:
        """Reads the result of :meth:`save`."""
        with np.load(path, allow_pickle=False) as arrays:
            values = dict(arrays)
        return UserSums(values.pop("user"), values.pop("count"), values)
