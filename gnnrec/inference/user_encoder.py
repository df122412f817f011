"""Embeds any users, a range at a time: what a user's vector needs of all other users is in the movies already."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from torch import Tensor


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

    def state(self) -> dict[str, Tensor]:
        """What makes the same encoder again, bit for bit, without a look at any user."""
