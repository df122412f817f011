"""Splits scores into parts that add up to them.

A score is a dot product of the user's vector and the movie's, plus biases. The user's vector is a sum over the user's
ratings and a few other parts (:mod:`gnnrec.inference.numpy_users.layers` says how layers with ``tanh`` are split), so
the score is a sum too. Vectors of movies are taken as given: what a movie owes to its raters is not told apart.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.list_order import ListOrder
from gnnrec.inference.numpy_users.parts import UserParts, UserRatings
from gnnrec.inference.vector_source import UserBlock

#: Parts other than ratings, in the order in which they are shown, and their names for readers.
CONSTANTS = {
    "offset": "offset",
    "user_bias": "user bias",
    "movie_bias": "movie bias",
    "own_row": "own row",
    "features": "features",
    "constant": "constant",
    "rest": "rest",
    "clipping": "clipping",
}


class Names(Protocol):
    """Raw ids and titles of movies by row, as :class:`gnnrec.inference.movie_catalog.MovieCatalog` has them."""

    def raw_id(self, row: int) -> int | str:
        """Returns the raw id of a movie."""

    @property
    def titles(self) -> Any:
        """Titles, by row."""


@dataclasses.dataclass(frozen=True)
class Reasons:
    """The parts of one score, which add up to it.

    Attributes:
        offset: The constant of all scores.
        user_bias: Bias of the user.
        movie_bias: Bias of the movie.
        own_row: What the user's learned row adds.
        features: What the user's features add.
        constant: What constants of the layers add.
        rest: Difference between the user's stored vector and the sum of its parts: rounding, as to float16, or a vector
            that an export has kept from an earlier one.
        clipping: Change of a predicted rating to the end of the rating scale.
        rated: The user's ratings.
        messages: What the message of each rating adds, float64 ``[ratings]``.
        interest: What each rating adds to interest, float64 ``[ratings]``.
    """

    offset: float
    user_bias: float
    movie_bias: float
    own_row: float
    features: float
    constant: float
    rest: float
    clipping: float
    rated: UserRatings
    messages: np.ndarray
    interest: np.ndarray

    @property
    def ratings(self) -> np.ndarray:
        """Contribution of each rating, by its message and by interest, float64 ``[ratings]``."""
        return self.messages + self.interest

    @property
    def score(self) -> float:
        """The sum of all parts."""
        return sum(getattr(self, name) for name in CONSTANTS) + float(self.ratings.sum())

    def strongest(self, count: int) -> np.ndarray:
        """Returns the positions of the ratings that change the score most, strongest first; ties by row."""
        strength = np.abs(self.ratings)
        near = np.arange(len(strength))
        if 0 < count < len(strength):  # sorting a few is much faster than sorting all
            near = np.flatnonzero(strength >= np.partition(strength, -count)[-count])
        return near[np.argsort(-strength[near], kind="stable")[:count]]

    def as_dict(self, names: Names, count: int) -> dict[str, Any]:
        """Returns the parts as numbers and text that JSON knows.

        Args:
            names: Ids and titles.
            count: Ratings to name; the others are ``other_ratings`` together.

        Returns:
            The parts by name, and ``sum``. ``ratings`` has ``movie`` (raw id), ``title``, ``rating``, and ``part``, the
            sum of ``message`` and ``interest``; ``other_ratings`` has their ``count``, ``part``, ``message`` and
            ``interest``.
        """
        chosen = self.strongest(count)
        others = np.delete(np.arange(len(self.messages)), chosen)
        rows = self.rated.movie[chosen].tolist()
        ratings = [
            {
                "movie": names.raw_id(row),
                "title": names.titles[row],
                "rating": float(self.rated.rating[place]),
                **self._sums(np.array([place])),
            }
            for row, place in zip(rows, chosen.tolist())
        ]
        parts = {name: float(getattr(self, name)) for name in CONSTANTS}
        rest = {"count": len(others), **self._sums(others)}
        return {**parts, "ratings": ratings, "other_ratings": rest, "sum": self.score}

    def lines(self, names: Names, count: int) -> list[str]:
        """Formats the parts: a line with all sums, and a line for each of the strongest ratings."""
        shown = self.as_dict(names, count)
        sums = [(shown[name], text) for name, text in CONSTANTS.items()]
        sums += [(float(self.messages.sum()), "ratings"), (float(self.interest.sum()), "interest")]
        lines = ["  ".join(f"{value:+.3f} {text}" for value, text in sums if abs(value) >= 0.0005)]
        lines += [f"{entry['part']:+.3f}  {entry['title']}, rated {entry['rating']:g}" for entry in shown["ratings"]]
        others = shown["other_ratings"]
        if others["count"] and count:
            noun = "rating" if others["count"] == 1 else "ratings"
            lines.append(f"{others['part']:+.3f}  {others['count']} other {noun}")
        return lines

    def _sums(self, places: np.ndarray) -> dict[str, float]:
        message, interest = float(self.messages[places].sum()), float(self.interest[places].sum())
        return {"part": message + interest, "message": message, "interest": interest}


def explain(order: ListOrder, user: UserBlock, parts: UserParts, movies: np.ndarray) -> list[Reasons]:
    """Splits the scores of some movies for one user.

    Args:
        order: Kind of score.
        user: The user's stored vector and bias.
        parts: The user's vector as a sum.
        movies: Rows of movies, int ``[movies]``.

    Raises:
        UserError: Scores are not dot products.
    """
    scoring, columns = order.first, order.columns
    if scoring.head or order.reranked:
        raise UserError(
            "--why: the scores of an MLP head are no sums over ratings and cannot be split exactly: train with the dot "
            "head"
        )
    own = 0 if columns.start else (scoring if order.rating is None else order.rating).movies.shape[1]
    stored = user.vectors[0].astype(np.float64)
    bias = float(user.bias[0]) if order.adds_bias else 0.0
    vectors, ratings = scoring.movies[movies].astype(np.float64), parts.ratings[:, columns]
    of_messages, of_interest = vectors[:, :own] @ ratings[:, :own].T, vectors[:, own:] @ ratings[:, own:].T
    others = np.stack([parts.own, parts.features, parts.constant, stored - parts.vector])[:, columns] @ vectors.T
    names = ("own_row", "features", "constant", "rest")
    result = []
    for place, row in enumerate(movies.tolist()):
        constants = {"offset": float(np.float32(scoring.offset)), "user_bias": bias}
        constants |= {"movie_bias": float(scoring.bias[row]), **dict(zip(names, others[:, place].tolist()))}
        messages, interest = of_messages[place], of_interest[place]
        whole = sum(constants.values()) + float(messages.sum() + interest.sum())
        clipped = whole if scoring.scale is None else float(np.clip(whole, *scoring.scale))
        result.append(
            Reasons(**constants, clipping=clipped - whole, rated=parts.rated, messages=messages, interest=interest)
        )
    return result
