"""Files with ratings and features of new users, or further ratings of known users."""

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
        path: The ratings; None for users with features alone.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``) -> name of its column; None is guessed.
        features: Files of features of users.
    """

    path: Path | None
    columns: dict[str, str | None]
    features: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The option that names the first file, for messages."""
        return f"--user-features {self.features[0]}" if self.path is None else f"--ratings {self.path}"

    def read(self, dataset: PreparedDataset, splits: tuple[int, ...] = tuple(range(len(SPLIT_NAMES)))) -> NewUsers:
        """Reads the users.

        Args:
            dataset: The prepared dataset.
            splits: Splits of the dataset from which known users keep their ratings.

        Raises:
            UserError: A malformed file.
        """
        from gnnrec.inference.new_users import read_new_users  # pandas is slow to import

        return read_new_users(self.path, self.columns, dataset, splits, self.features)
