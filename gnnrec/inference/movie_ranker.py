"""Best movies of one user: one product scores all movies, and the scores of the best ones are computed once more.

Matrix products round differently for other shapes and numbers of threads. The second computation does not, so a
command, a service that answers several users at a time and an index give the same scores, bit for bit.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from gnnrec.inference.list_order import ListOrder
from gnnrec.inference.new_share import Lists, join_lists
from gnnrec.inference.score_bounds import ScoreBounds, highest
from gnnrec.inference.vector_source import UserBlock

_EPSILON = float(np.finfo(np.float32).eps)
#: The share of movies, one of so many, that may be gathered and scored: all of them cost as much as a product.
_FEW = 16


class MovieRanker:
    """Finds the best movies of users in one order.

    Args:
        order: The order.
        bounds: Bounds of its scores, of the dot head, where many lists are worth them.
    """

    def __init__(self, order: ListOrder, bounds: ScoreBounds | None = None):
        self.order, self.bounds, self._first = order, bounds, order.first
        self._columns = self._first.columns()

    @cached_property
    def _longest(self) -> tuple[float, float]:
        """Length of the longest movie vector, and the largest bias."""
        squares = np.einsum("md,md->m", self._columns, self._columns)
        return float(np.sqrt(squares.max(initial=0))), float(np.abs(self._first.bias).max(initial=0))

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Returns scores of all movies, without offset and user bias, float32 ``[users, movies]``.

        Args:
            vectors: User vectors, float32 ``[users, dim]``.
        """
        vectors = vectors[:, self.order.columns]
        if self._first.head:
            return np.stack([self._first.scores(vector) for vector in vectors])
        if len(vectors) < 3:
            products = np.stack([self._columns @ vector for vector in vectors])
        else:  # one pass over the movies, which are too many for the cache
            products = np.ascontiguousarray((self._columns @ vectors.T).T)
        products += self._first.bias
        return products

    def lists(self, user: UserBlock, candidates: np.ndarray, top: int, scores: np.ndarray | None = None) -> Lists:
        """Returns complete scores, rows of movies and predicted ratings or None, best first: ``[1, found]`` each.

        Args:
            user: One user.
            candidates: Movies that may be in the list, bool ``[movies]``; or rows of all that may not, int.
            top: Movies of the list.
            scores: The user's row of :meth:`scores`; None to compute it, or to do with bounds.
        """
        wanted = self.order.wanted(top) if top else 0
        if scores is None and self.bounds is not None:
            rows = self._within_bounds(self.bounds, user, candidates, wanted)
            if rows is not None:
                return self.lists_among(user, rows, top)
        scores = self.scores(user.vectors)[0] if scores is None else scores
        return self.lists_among(user, self._near_the_best(user, scores, candidates, wanted), top)

    def lists_among(self, user: UserBlock, rows: np.ndarray, top: int) -> Lists:
        """Returns the lists of given movies, as :meth:`lists` does.

        Args:
            user: One user.
            rows: Rows of movies, ascending.
            top: Movies of the list.
        """
        scores = self._scores_of(user, rows)
        best = np.argsort(-scores, kind="stable")[: self.order.wanted(top) if top else 0]
        return self.order.lists(user, scores[None, best], rows[None, best], top)

    def _scores_of(self, user: UserBlock, rows: np.ndarray) -> np.ndarray:
        """Returns the scores of given movies, float32 ``[rows]``: the same bits among any other movies."""
        factors = self._first.rows(user.vectors[:, self.order.columns])
        return self._first.pair_scores(np.repeat(factors, len(rows), 0), self._columns, rows)

    def _within_bounds(
        self, bounds: ScoreBounds, user: UserBlock, candidates: np.ndarray, count: int
    ) -> np.ndarray | None:
        """Returns the rows of the best candidates, and of some others, ascending; None if they would be many.

        Bounds say little of users whose vectors are unlike those that they were fitted to, as some new ones are.
        """
        if count == 0:
            return np.empty(0, np.int64)
        upper, error = bounds.upper(user.vectors[0, self.order.columns])
        upper[~candidates if candidates.dtype == bool else candidates] = -np.inf
        rows = highest(upper, count)
        if len(rows) < count:  # all candidates
            return rows
        most = max(2 * count, len(upper) // _FEW)
        if len(rows) > most:
            return None
        scores = self._scores_of(user, rows)
        last = np.partition(scores, len(scores) - count)[len(scores) - count]
        rows = (upper >= last - self._slack(user) - np.float32(error)).nonzero()[0]
        return rows if len(rows) <= most else None

    def _near_the_best(self, user: UserBlock, scores: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
        """Returns the rows of the best candidates, and of all that rounding may have put behind them, ascending."""
        if count == 0:
            return np.empty(0, np.int64)
        if candidates.dtype == bool:
            if np.count_nonzero(candidates) <= count:
                return np.flatnonzero(candidates)
            scores = np.where(candidates, scores, np.float32(-np.inf))
        else:
            if len(scores) - len(candidates) <= count:
                return np.setdiff1d(np.arange(len(scores)), candidates)
            scores = scores.copy()
            scores[candidates] = -np.inf
        last = np.partition(scores, len(scores) - count)[len(scores) - count]
        return (scores >= last - self._slack(user)).nonzero()[0]

    def _slack(self, user: UserBlock) -> np.float32:
        """Returns twice the most that two computations of one score can differ by.

        A sum of n products of float32 is wrong by at most n/2 units in the last place of the sum of their absolute
        values (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1).
        """
        if self._first.head:
            return np.float32(0)  # computed alike in both places
        vector, (longest, bias) = user.vectors[0, self.order.columns], self._longest
        return np.float32(2 * (len(vector) + 1) * _EPSILON * (float(vector @ vector) ** 0.5 * longest + bias))


def user_lists(
    ranker: MovieRanker,
    user: UserBlock,
    candidates: np.ndarray,
    top: int,
    new: tuple[np.ndarray, int] | None = None,
    scores: np.ndarray | None = None,
) -> Lists:
    """Returns the list of one user, ``[1, found]`` each, without places that are empty.

    Args:
        ranker: The movies.
        user: One user.
        candidates: Movies that may be in the list, bool ``[movies]``; without ``new`` also rows of those that may not.
        top: Movies of the list.
        new: New movies, bool ``[movies]``, and the number of places that they get; None for no given number.
        scores: The user's row of :meth:`MovieRanker.scores`; None to compute it.
    """
    if new is None:
        return ranker.lists(user, candidates, top, scores)
    cold, places = new
    scores = ranker.scores(user.vectors)[0] if scores is None else scores
    known = ranker.lists(user, candidates & ~cold, top, scores)
    chosen, best, ratings = join_lists(known, ranker.lists(user, candidates & cold, places, scores), top)
    kept = best[0] >= 0
    return chosen[:, kept], best[:, kept], None if ratings is None else ratings[:, kept]


def similar_rows(
    vectors: np.ndarray, lengths: np.ndarray, row: int, candidates: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of the movies with the highest cosine similarity with a movie, best first, and the cosines.

    Args:
        vectors: float32 ``[movies, dim]``.
        lengths: Their lengths, float32 ``[movies]``.
        row: The movie.
        candidates: Movies that may be in the list, bool ``[movies]``.
        top: Movies of the list.
    """
    products = lengths * lengths[row]
    tiny, slack = np.finfo(np.float32).tiny, np.float32(4 * (vectors.shape[1] + 1) * _EPSILON)
    cosines = np.where(candidates, vectors @ vectors[row] / np.maximum(products, tiny), np.float32(-np.inf))
    rows = np.flatnonzero(candidates)
    if len(rows) > top:
        rows = np.flatnonzero(cosines >= np.partition(cosines, len(cosines) - top)[len(cosines) - top] - slack)
    exact = np.einsum("pd,pd->p", vectors[rows], np.repeat(vectors[row][None], len(rows), 0))
    exact /= np.maximum(products[rows], tiny)
    best = np.argsort(-exact, kind="stable")[:top]
    return rows[best], exact[best]
