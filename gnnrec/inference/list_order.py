"""Order of the movies in lists: by predicted rating, by interest, or by both."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.scoring import Scoring
from gnnrec.inference.vector_source import UserBlock

OrderBy = Literal["both", "rating", "interest"]
#: Movies with the highest interest that an MLP head ranks, since it cannot score all movies by a product. The same
#: number as in :mod:`gnnrec.evaluation.lists`, which needs torch.
PROPOSALS = 500
#: Pairs that an MLP head scores at a time.
_PAIRS = 65536


@dataclasses.dataclass(frozen=True)
class ListOrder:
    """Scores that order movies, and the predicted ratings to show beside them.

    Attributes:
        name: Name of the scores: ``rating``, ``interest`` or ``score``.
        first: Scores of all movies by which the best ones are found.
        columns: Columns of user vectors that they need.
        rating: The predicted rating, if it is not the score.
        reranked: Whether ``first`` only proposes movies, which are ranked by ``first`` and the predicted rating.
    """

    name: str
    first: Scoring
    columns: slice
    rating: Scoring | None = None
    reranked: bool = False

    def wanted(self, top: int) -> int:
        """Number of movies to find by ``first`` for lists of ``top`` movies."""
        return max(top, PROPOSALS) if self.reranked else top

    def lists(
        self, users: UserBlock, scores: np.ndarray, movies: np.ndarray, top: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Completes the best movies by ``first``.

        Args:
            users: The users.
            scores: Scores by ``first``, without offset and user bias, float32 ``[users, found]``, best first.
            movies: Their rows, -1 for none, ``[users, found]``.
            top: Movies of a list.

        Returns:
            Complete scores, rows of movies, -1 for none, and predicted ratings, all ``[users, top or less]``; None for
            the ratings if the scores are the ratings, or there are none.
        """
        scores = self.first.complete(scores, users.bias[:, None] if self.adds_bias else 0.0)
        if self.rating is None:
            return scores, movies, None
        ratings = self._ratings(users, np.maximum(movies, 0))
        if self.reranked:
            scores = np.where(movies >= 0, scores + ratings, -np.inf).astype(np.float32)
            order = np.lexsort((movies, -scores), axis=1)[:, :top]
            scores, movies, ratings = (np.take_along_axis(table, order, 1) for table in (scores, movies, ratings))
        return scores, movies, ratings.clip(*self.rating.scale)

    @property
    def adds_bias(self) -> bool:
        """Whether scores include the biases of users, which are in the unit of ratings."""
        return self.columns.start == 0

    def _ratings(self, users: UserBlock, movies: np.ndarray) -> np.ndarray:
        """Returns predicted ratings, not clipped, float32 ``[users, found]``."""
        own = self.rating
        factors, columns = own.rows(users.vectors[:, : own.movies.shape[1]]), own.columns()
        ratings = np.empty(movies.shape, np.float32)
        step = max(1, _PAIRS // max(movies.shape[1], 1))
        for first in range(0, len(movies), step):
            some = movies[first : first + step]
            repeated = np.repeat(factors[first : first + step], some.shape[1], 0)
            ratings[first : first + step] = own.pair_scores(repeated, columns, some.reshape(-1)).reshape(some.shape)
        return ratings + np.float32(own.offset) + users.bias[:, None]


def list_order(scoring: Scoring, order_by: OrderBy | None) -> ListOrder:
    """Returns the order of lists.

    Args:
        scoring: The movies.
        order_by: Wanted order; None for both, or the scores of the model itself where there is no interest.

    Raises:
        UserError: The movies have no interest, or no ratings.
    """
    own = scoring.own()
    if order_by in ("both", "interest") and not scoring.interest_dim:
        raise UserError(
            f"--order-by {order_by}: there is no interest here, which finished rating runs have: leave the option out"
        )
    if order_by == "rating" and scoring.scale is None:
        raise UserError("--order-by rating: this model ranks movies and predicts no ratings: leave the option out")
    if order_by == "rating" or not scoring.interest_dim:
        return ListOrder(own.name, own, slice(0, scoring.own_dim))
    interest = slice(scoring.own_dim, None)
    if order_by == "interest":
        return ListOrder("interest", scoring.standardized_interest(), interest, own)
    if scoring.head:
        return ListOrder("score", scoring.interest(), interest, own, reranked=True)
    return ListOrder("score", scoring.both(), slice(0, None), own)
