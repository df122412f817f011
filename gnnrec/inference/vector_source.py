"""Interface of the sources of vectors for recommendations: an export or a run."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import pyarrow as pa

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.scoring import Scoring


@dataclasses.dataclass(frozen=True)
class UserBlock:
    """A range of users, in row order.

    Attributes:
        ids: Raw ids.
        vectors: float32 ``[users, dim]``.
        bias: float32 ``[users]``.
    """

    ids: pa.Array
    vectors: np.ndarray
    bias: np.ndarray


class VectorSource(Protocol):
    """All movies, and any range of users.

    Attributes:
        catalog: Movies and ratings.
        num_users: Number of users.
    """

    catalog: MovieCatalog
    num_users: int

    @property
    def cold(self) -> np.ndarray:
        """Movies that the model was trained without ratings of, bool ``[movies]``."""

    @property
    def scoring(self) -> Scoring:
        """Movies and weights that score pairs."""

    @property
    def identity(self) -> dict:
        """Values that are equal for two sources with the same vectors."""

    def find(self, user: str) -> int:
        """Returns the row of a user, by raw id given as text.

        Raises:
            UserError: No user has this id.
        """

    def block(self, rows: range) -> UserBlock:
        """Reads users by global rows; no collective."""

    def user_parts(self, row: int) -> UserParts:
        """Splits the vector of a user into what its ratings and other parts add to it; no collective.

        Raises:
            UserError: The source cannot do so.
        """
