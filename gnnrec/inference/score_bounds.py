"""Upper bounds of the scores of all movies, which cost a few columns instead of all of them.

Users and movies are turned so that a few columns have most of the length of movies. A score is the product of these
columns, plus at most the product of the lengths of the others (Li, Chan, Yiu and Mamoulis, "FEXIPRO: Fast and Exact
Inner Product Retrieval in Recommender Systems", SIGMOD 2017). Movies whose bound is below the score of movies that are
known need no product.
"""

from __future__ import annotations

import numpy as np

from gnnrec.data.blocks import blocks

#: Numbers of columns to choose from.
_COLUMNS = (4, 8, 12, 16, 24, 32, 48, 64, 96)
#: Sample users that are tried, at most and at least, and scores of all of them.
_USERS, _FEW_USERS, _SCORES = 64, 8, 4_000_000
#: Time of a column of a movie that is gathered, in times of one that is read in order, and most of the time of all
#: columns that bounds may cost.
_GATHERED, _WORTH = 16, 0.5
#: Movies in groups, whose highest bounds are compared.
_GROUP = 32


class ScoreBounds:
    """Bounds of the scores of a dot head.

    Args:
        rotation: Orthogonal, float64 ``[dim, dim]``.
        table: Turned movies, float32 ``[columns + 2, movies]``: the first columns, the length of the others, the bias.
    """

    def __init__(self, rotation: np.ndarray, table: np.ndarray):
        self.rotation, self.table = rotation, table

    @classmethod
    def fitted(cls, movies: np.ndarray, bias: np.ndarray, users: np.ndarray, count: int) -> ScoreBounds | None:
        """Chooses the number of columns; returns None where bounds gain nothing.

        Args:
            movies: float32 ``[movies, dim]``.
            bias: float32 ``[movies]``.
            users: Sample users, float32 ``[users, dim]``.
            count: Movies of their lists.
        """
        dim = movies.shape[1]
        if not len(users) or not dim or len(movies) <= count:
            return None
        users = users[: min(_USERS, max(_FEW_USERS, _SCORES // len(movies)))]
        _, axes = np.linalg.eigh((movies.T @ movies).astype(np.float64))
        rotation = np.ascontiguousarray(axes[:, ::-1])
        turned = np.empty((dim, len(movies)), np.float32)
        for rows in blocks(len(movies)):
            turned[:, rows] = (movies[rows] @ rotation).T
        last = [np.partition(movies @ user + bias, -count)[-count] for user in users]
        cost, best = _WORTH * dim, None
        for columns in _COLUMNS:
            if columns + 2 >= cost:
                break
            rest = np.linalg.norm(turned[columns:], axis=0)
            bounds = cls(rotation, np.concatenate([turned[:columns], rest[None], bias[None]]))
            near = np.mean([np.mean(bounds.upper(user) >= least) for user, least in zip(users, last)])
            if (found := columns + 2 + _GATHERED * dim * near) < cost:
                cost, best = found, bounds
        return best

    @property
    def columns(self) -> int:
        """Columns that are multiplied."""
        return len(self.table) - 2

    def upper(self, user: np.ndarray) -> np.ndarray:
        """Returns numbers that no score is above, but for rounding: float32 ``[movies]``.

        Args:
            user: float32 ``[dim]``.
        """
        turned = user @ self.rotation
        rest = turned[self.columns :]
        own = np.append(turned[: self.columns], [np.sqrt(rest @ rest), 1.0]).astype(np.float32)
        return own @ self.table


def highest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the places of at least ``count`` of the highest values, ascending; without those that are -inf.

    Few more are returned: the lowest of them is the highest of a group of values, which is faster than sorting.
    """
    groups = len(values) // _GROUP
    if count <= groups // 4:
        of_groups = values[: groups * _GROUP].reshape(_GROUP, groups).max(0)
        least = np.partition(of_groups, groups - count)[groups - count]
        if least > -np.inf:
            return (values >= least).nonzero()[0]
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        return ((values >= least) & (values > -np.inf)).nonzero()[0]
    return (values > -np.inf).nonzero()[0]

