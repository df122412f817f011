"""Interface of encoders, which embed users range by range: the movie states already cover all other users."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from torch import Tensor

from gnnrec.inference.new_users import NewUsers


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Vectors and biases of some users or of all movies.

    Attributes:
        vector: Float ``[rows, dim]``.
        bias: Float ``[rows]``.
        interest_norm: Lengths of the interest vectors of users before they were standardized, float ``[rows]``; None
            for movies, and without interest.
    """

    vector: Tensor
    bias: Tensor
    interest_norm: Tensor | None = None


class UserEncoder(Protocol):
    """A trained model with the states of all movies, which embeds ranges of users.

    Attributes:
        movies: Vectors of all movies.
        offset: Constant term of every score, float scalar tensor.
    """

    movies: Vectors
    offset: Tensor

    def users(self, rows: range) -> Vectors:
        """Embeds users by global rows, on any rank; no collective."""

    def for_new_users(self, users: NewUsers) -> UserEncoder:
        """Returns an encoder of the same model for the users of a file, whose :meth:`users` takes their rows."""

    def state(self) -> dict[str, Tensor]:
        """Returns tensors that restore this encoder bit for bit without reading any user."""
