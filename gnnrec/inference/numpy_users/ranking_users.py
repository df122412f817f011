"""Users of a ranking model: sums over the movies that they like, with weights of counts and of order."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.numpy_users.parts import UserRatings

#: Times are compared by seconds within about 68 years before the newest one, as in :mod:`gnnrec.graph.places`.
_SECONDS = (1 << 31) - 1


@dataclasses.dataclass(frozen=True)
class LikesInOrder:
    """A second score, and weights of likes by their place from the newest one.

    Attributes:
        following: Message embeddings of the score of the next movie, float32 ``[movies, columns]``.
        tie_key: Order of ratings of one time, int64 ``[movies]``.
        exponent: A like at place ``k`` has weight ``k ^ -exponent`` in the first score.
        next_weight: Weight of the second score.
        half_life: Places after which a like counts half in the second score.
    """

    following: np.ndarray
    tie_key: np.ndarray
    exponent: float
    next_weight: float
    half_life: float


@dataclasses.dataclass(frozen=True)
class RankingUsers:
    """A ranking model.

    Attributes:
        liked: Message embeddings, float32 ``[movies, columns]``.
        relevant: Lowest rating that counts as liked.
        count_confidence: Strength with which ratings, as counts, are weights; 0 for equal weights.
        order: Order of likes; None without.
    """

    liked: np.ndarray
    relevant: float
    count_confidence: float
    order: LikesInOrder | None = None

    def likes(self, rated: UserRatings) -> UserRatings:
        """Selects the ratings that vectors are computed from."""
        kept = rated.rating.astype(np.float32) >= np.float32(self.relevant)
        return UserRatings(rated.movie[kept], rated.rating[kept], None if rated.time is None else rated.time[kept])

    def parts(self, likes: UserRatings) -> np.ndarray:
        """Computes what each like adds to a user's vector, float64 ``[likes, columns]``.

        With the order of likes both scores are divided by the length of their sum, which is taken as given.
        """
        weight = np.ones(len(likes.movie))
        if self.count_confidence:
            weight = 1 + self.count_confidence * np.log1p(likes.rating.astype(np.float32).astype(np.float64))
        if self.order is None:
            return self.liked[likes.movie].astype(np.float64) * weight[:, None]
        decay = np.ones(len(likes.movie))
        if likes.time is not None:
            place = self._places(likes)
            weight, decay = weight * place**-self.order.exponent, 2 ** ((1 - place) / self.order.half_life)
        first = _unit(self.liked[likes.movie] * weight[:, None])
        second = _unit(self.order.following[likes.movie] * decay[:, None])
        return np.concatenate([first, second * self.order.next_weight], 1)

    def _places(self, likes: UserRatings) -> np.ndarray:
        """Numbers likes from the newest one, which is 1: float64 ``[likes]``."""
        assert self.order is not None and likes.time is not None
        if not len(likes.time):
            return np.zeros(0)
        age = np.minimum(likes.time.max() - likes.time, _SECONDS)
        place = np.empty(len(age))
        place[np.lexsort((self.order.tie_key[likes.movie], age))] = np.arange(1, len(age) + 1)
        return place


def _unit(rows: np.ndarray) -> np.ndarray:
    """Divides rows by the length of their sum."""
    rows = rows.astype(np.float64)
    return rows / max(float(np.linalg.norm(rows.sum(0))), float(np.finfo(np.float32).tiny))
