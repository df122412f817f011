"""Embeds any users, a range at a time: what a user's vector needs of all other users is in the movies already."""

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
    """

    vector: Tensor
    bias: Tensor


class UserEncoder(Protocol):
    """A trained model that has seen all movies, and takes users one range after the other.

    Attributes:
        movies: All movies.
        offset: What is added to every score, float scalar tensor.
    """

    movies: Vectors
    offset: Tensor

    def users(self, rows: range) -> Vectors:
        """Vectors of some users, by global rows, whoever owns them; no collective."""

    def of_new_users(self, users: NewUsers) -> UserEncoder:
        """The same model for the users of a file: :meth:`users` then takes their rows."""

    def state(self) -> dict[str, Tensor]:
        """What makes the same encoder again, bit for bit, without a look at any user."""
