"""A file with ratings of new users, or further ratings of known users."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.data.prepared import SPLIT_NAMES, PreparedDataset

if TYPE_CHECKING:
    from gnnrec.inference.new_users import NewUsers


@dataclasses.dataclass(frozen=True)
class RatingsFile:
    """Input of :func:`gnnrec.inference.new_users.read_new_users`.

    Attributes:
        path: The file.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``) -> name of its column; None is guessed.
    """

    path: Path
    columns: dict[str, str | None]

    def read(self, dataset: PreparedDataset, splits: tuple[int, ...] = tuple(range(len(SPLIT_NAMES)))) -> NewUsers:
        """Reads the users.

        Args:
            dataset: The prepared dataset.
            splits: Splits of the dataset from which known users keep their ratings.

        Raises:
            UserError: A malformed file.
        """
        from gnnrec.inference.new_users import read_new_users  # pandas is slow to import

        return read_new_users(self.path, self.columns, dataset, splits)
