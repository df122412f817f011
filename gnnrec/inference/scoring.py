"""Scores of user-movie pairs from exported movies and the weights of the head."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scoring:
    """All movies, as in an export.

    Attributes:
        movies: float32 ``[movies, dim]``: columns of the model's scores, then those of interest.
        bias: float32 ``[movies]``.
        offset: Added to all scores.
        scale: Lowest and highest rating, or None for scores without a scale.
        head: Weights of an MLP head by their names in :class:`gnnrec.models.head.MLPHead`; empty for the dot head.
        interest_dim: Columns of interest; 0 for none.
        interest_scale: Factor of interest in the sum of both.
    """

    movies: np.ndarray
    bias: np.ndarray
    offset: float
    scale: tuple[float, float] | None
    head: dict[str, np.ndarray]
    interest_dim: int = 0
    interest_scale: float = 1.0

    @property
    def name(self) -> str:
        """``rating`` or ``score``."""
        return "score" if self.scale is None else "rating"

    @property
    def own_dim(self) -> int:
        """Columns of the scores of the model itself, which are ratings or those of a ranking model."""
        return self.movies.shape[1] - self.interest_dim

    def own(self) -> Scoring:
        """Returns the scores of the model itself, without interest."""
        return dataclasses.replace(self, movies=self.movies[:, : self.own_dim], interest_dim=0)

    def interest(self) -> Scoring:
        """Returns interest, times its factor in the sum of both."""
        return Scoring(self.movies[:, self.own_dim :], np.zeros_like(self.bias), 0.0, None, {})

    def standardized_interest(self) -> Scoring:
        """Returns interest, in standard deviations over all movies."""
        interest = self.interest()
        return dataclasses.replace(interest, movies=interest.movies / np.float32(self.interest_scale))

    def both(self) -> Scoring:
        """Returns the sum of rating and interest, for the dot head: one product over all columns."""
        return dataclasses.replace(self, scale=None, interest_dim=0)

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of the hidden units, float32 ``[hidden]``; None for the dot head."""
        return self.head["out.weight"].reshape(-1).astype(np.float32) if self.head else None

    @cached_property
    def _hidden(self) -> np.ndarray:
        return self.movies @ self.head["movie.weight"].T

    def columns(self) -> np.ndarray:
        """Returns the movie factors that are combined with :meth:`rows`: float32 ``[movies, dim or hidden]``."""
        return self._hidden if self.head else self.movies

    def rows(self, users: np.ndarray) -> np.ndarray:
        """Converts vectors ``[users, dim]`` to factors, float32 ``[users, dim or hidden]``."""
        return users @ self.head["user.weight"].T + self.head["user.bias"] if self.head else users

    def scores(self, user: np.ndarray) -> np.ndarray:
        """Returns scores of all movies for one vector, float32 ``[movies]``, without offset and user bias."""
        row = self.rows(user[None])[0]
        if self.head:
            return _weighted(np.maximum(self.columns() + row, 0), self.weight) + self.bias
        return self.movies @ row + self.bias

    def pair_scores(self, factors: np.ndarray, columns: np.ndarray, movie: np.ndarray) -> np.ndarray:
        """Returns scores of pairs, float32 ``[pairs]``, without offset and user bias.

        Args:
            factors: Rows of :meth:`rows`, one for each pair.
            columns: :meth:`columns` of all movies.
            movie: Rows of movies, one for each pair.
        """
        if self.weight is not None:
            return _weighted(np.maximum(factors + columns[movie], 0), self.weight) + self.bias[movie]
        return np.einsum("pd,pd->p", factors, columns[movie]) + self.bias[movie]

    def complete(self, scores: np.ndarray, user_bias: np.ndarray | float) -> np.ndarray:
        """Adds offset and user bias to scores, and clips them to the rating scale: float32."""
        scores = (scores + np.float32(self.offset) + user_bias).astype(np.float32)
        return scores if self.scale is None else scores.clip(*self.scale)


def _weighted(hidden: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns weighted sums of rows; unlike a product with BLAS it rounds a row alike among any number of others."""
    return np.einsum("ph,h->p", hidden, weight)


def interest_entries(manifest: dict) -> tuple[int, float]:
    """Returns columns and scale of interest from the entries of a manifest about scoring; 0 and 1 without interest."""
    if "interest" not in manifest:
        return 0, 1.0
    first, end = manifest["interest"]["columns"]
    return end - first, manifest["interest"]["scale"]
