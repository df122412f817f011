"""The vector of a user as a sum of what its ratings, its own row, its features and constants add to it."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class UserRatings:
    """Ratings of one user, sorted by movie.

    Attributes:
        movie: Movie rows, int64 ``[ratings]``, distinct.
        rating: In the unit of the dataset, float64 ``[ratings]``.
        time: Seconds since 1970, int64 ``[ratings]``; None if unknown.
    """

    movie: np.ndarray
    rating: np.ndarray
    time: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class OwnRows:
    """Table rows that a model has learned for one user; None for what it has not, or where they are zero.

    Attributes:
        id_embedding: float ``[dim]``.
        message_embedding: float ``[dim]``, of which only GCN with self-loops makes use.
        bias: Learned bias, standardized.
    """

    id_embedding: np.ndarray | None = None
    message_embedding: np.ndarray | None = None
    bias: float = 0.0


@dataclasses.dataclass(frozen=True)
class EncodedUser:
    """A user as in the files of an export.

    Attributes:
        vector: float32 ``[columns]``: those of the model's own scores, then those of interest.
        bias: In the unit of the dataset.
        interest_norm: Length of the vector of interest before it was standardized; None without interest.
    """

    vector: np.ndarray
    bias: float
    interest_norm: float | None = None


@dataclasses.dataclass(frozen=True)
class UserParts:
    """A user's vector as a sum, in the columns of an export.

    Attributes:
        rated: The ratings that sent a message or entered interest.
        ratings: What each of them adds, float64 ``[ratings, columns]``.
        own: What the user's own row adds, float64 ``[columns]``.
        features: What the user's features add.
        constant: What constants of the layers add.
        bias: Bias of the user, in the unit of the dataset.
    """

    rated: UserRatings
    ratings: np.ndarray
    own: np.ndarray
    features: np.ndarray
    constant: np.ndarray
    bias: float

    @property
    def vector(self) -> np.ndarray:
        """The sum of all parts, float64 ``[columns]``."""
        return self.ratings.sum(0) + self.own + self.features + self.constant
