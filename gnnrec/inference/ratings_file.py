"""A file with ratings of users who are not in the dataset, or of known users who have rated more since."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.data.prepared import SPLIT_NAMES, PreparedDataset

if TYPE_CHECKING:
    from gnnrec.inference.new_users import NewUsers


@dataclasses.dataclass(frozen=True)
class RatingsFile:
    """What :func:`gnnrec.inference.new_users.read_new_users` reads.

    Attributes:
        path: The file.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``) -> name of its column; None is guessed.
    """

    path: Path
    columns: dict[str, str | None]

    def read(self, dataset: PreparedDataset, splits: tuple[int, ...] = tuple(range(len(SPLIT_NAMES)))) -> NewUsers:
        """The users.

        Args:
            dataset: The prepared dataset.
            splits: Splits of the dataset that known users' ratings are taken from.

        Raises:
            UserError: A malformed file.
        """
        from gnnrec.inference.new_users import read_new_users  # pandas takes its time

        return read_new_users(self.path, self.columns, dataset, splits)
