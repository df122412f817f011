"""Where recommendations take vectors from: what an export and a run have in common."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import pyarrow as pa

from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.scoring import Scoring


@dataclasses.dataclass(frozen=True)
class UserBlock:
    """Some users, in row order.

    Attributes:
        ids: Raw ids.
        vectors: float32 ``[users, dim]``.
        bias: float32 ``[users]``.
    """

    ids: pa.Array
    vectors: np.ndarray
    bias: np.ndarray


class VectorSource(Protocol):
    """All movies, and any users on request.

    Attributes:
        catalogue: Movies and ratings.
        num_users: Users.
    """

    catalogue: MovieCatalog
    num_users: int

    @property
    def scoring(self) -> Scoring:
        """How pairs are scored."""

    @property
    def identity(self) -> dict:
        """What makes two sources the same."""

    def find(self, user: str) -> int:
        """Row of a user, by the raw id as it was typed.

        Raises:
            UserError: Nobody has this id.
        """

    def block(self, rows: range) -> UserBlock:
        """Some users, by global rows; no collective."""
