"""Upper bounds of the scores of all movies, which cost a few columns instead of all of them.

Users and movies are turned so that a few columns have most of the scores. A score is the product of these columns, plus
at most the product of the lengths of the others (Li, Chan, Yiu and Mamoulis, "FEXIPRO: Fast and Exact Inner Product
Retrieval in Recommender Systems", SIGMOD 2017). Movies whose bound is below the scores of movies that are known need no
product. Before they are turned, columns are scaled so that users are equally long in all directions: bounds are close
where the lengths of movies say what they contribute.
"""

from __future__ import annotations

import numpy as np

from gnnrec.data.blocks import blocks

_EPSILON = float(np.finfo(np.float32).eps)
#: Numbers of columns to choose from.
_COLUMNS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
#: Sample users that are tried, at most and at least, and scores of all of them.
_USERS, _FEW_USERS, _SCORES = 64, 8, 4_000_000
#: Time of a column of a movie that is gathered, in times of one that is read in order, and most of the time of all
#: columns that bounds may cost.
_GATHERED, _WORTH = 16, 0.5
#: Share of the mean square of users that every direction has at least.
_LEAST = 1e-3
#: Movies in groups, whose highest bounds are compared.
_GROUP = 32


class ScoreBounds:
    """Bounds of the scores of a dot head.

    Args:
        turn: Turns users, float64 ``[dim, dim]``; its inverse turns movies.
        table: Turned movies, float32 ``[columns + 2, movies]``: the first columns, the length of the others, the bias.
    """

    def __init__(self, turn: np.ndarray, table: np.ndarray):
        self.turn, self.table, self._columns = turn, table, len(table) - 2
        squares = sum((row.astype(np.float64) ** 2 for row in table[:-1]), np.zeros(table.shape[1]))
        self._longest = float(np.sqrt(squares.max(initial=0))), float(np.abs(table[-1]).max(initial=0))

    @classmethod
    def fitted(
        cls, movies: np.ndarray, bias: np.ndarray, users: np.ndarray, tried: np.ndarray, count: int
    ) -> ScoreBounds | None:
        """Chooses the number of columns; returns None where bounds gain nothing.

        Args:
            movies: float32 ``[movies, dim]``.
            bias: float32 ``[movies]``.
            users: Users whose second moments are those of all, float32 ``[users, dim]``.
            tried: Sample users, float32 ``[users, dim]``.
            count: Movies of their lists.
        """
        dim = movies.shape[1]
        if not len(tried) or not dim or len(movies) <= count:
            return None
        turn, movie_turn = _turns(movies, users)
        turned = np.empty((dim, len(movies)), np.float32)
        for rows in blocks(len(movies)):
            turned[:, rows] = (movies[rows] @ movie_turn).T
        tried = tried[: min(_USERS, max(_FEW_USERS, _SCORES // len(movies)))]
        last = [np.partition(movies @ user + bias, -count)[-count] for user in tried]
        cost, best = _WORTH * dim, None
        for columns in _COLUMNS:
            if columns + 2 >= cost:
                break
            rest = np.linalg.norm(turned[columns:], axis=0)
            bounds = cls(turn, np.concatenate([turned[:columns], rest[None], bias[None]]))
            near = np.mean([np.mean(bounds.upper(user)[0] >= least) for user, least in zip(tried, last)])
            if (found := columns + 2 + _GATHERED * dim * near) < cost:
                cost, best = found, bounds
        return best

    def upper(self, user: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns numbers that no score is above, float32 ``[movies]``, and the most that rounding makes them too low.

        They are sums of ``columns + 2`` products, whose factors are rounded too; see
        :meth:`gnnrec.inference.movie_ranker.MovieRanker.lists` on errors of sums.

        Args:
            user: float32 ``[dim]``.
        """
        turned = user @ self.turn
        rest = turned[self._columns :]
        own = np.empty(self._columns + 2, np.float32)
        own[:-2], own[-2], own[-1] = turned[: self._columns], np.sqrt(rest @ rest), 1
        longest, bias = self._longest
        size = 2 * longest * float(turned @ turned) ** 0.5 + bias
        return own @ self.table, (self._columns + 5) * _EPSILON * size


def _turns(movies: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns matrices that turn users, and movies inversely, float64 ``[dim, dim]``; the first columns matter most."""
    squares, axes = np.linalg.eigh(users.T.astype(np.float64) @ users / len(users))
    lengths = np.sqrt(squares.clip(min=_LEAST * max(squares.mean(), 1e-30)))
    scaled = axes * lengths
    _, order = np.linalg.eigh(scaled.T @ (movies.T @ movies).astype(np.float64) @ scaled)
    order = order[:, ::-1]
    return np.ascontiguousarray(axes / lengths @ order), scaled @ order


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
