"""Scores of user-movie pairs from exported movies and the weights of the head."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scoring:
    """All movies, as in an export.

    Attributes:
        movies: float32 ``[movies, dim]``.
        bias: float32 ``[movies]``.
        offset: Added to all scores.
        scale: Lowest and highest rating, or None for scores without a scale.
        head: Weights of an MLP head by their names in :class:`gnnrec.models.head.MLPHead`; empty for the dot head.
    """

    movies: np.ndarray
    bias: np.ndarray
    offset: float
    scale: tuple[float, float] | None
    head: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """``rating`` or ``score``."""
        return "score" if self.scale is None else "rating"

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of the hidden units, float32 ``[hidden]``; None for the dot head."""
        return self.head["out.weight"].reshape(-1).astype(np.float32) if self.head else None

    def columns(self) -> np.ndarray:
        """Returns the movie factors that are combined with :meth:`rows`: float32 ``[movies, dim or hidden]``."""
        return self.movies @ self.head["movie.weight"].T if self.head else self.movies

    def rows(self, users: np.ndarray) -> np.ndarray:
        """Converts vectors ``[users, dim]`` to factors, float32 ``[users, dim or hidden]``."""
        return users @ self.head["user.weight"].T + self.head["user.bias"] if self.head else users

    def scores(self, user: np.ndarray) -> np.ndarray:
        """Returns scores of all movies for one vector, float32 ``[movies]``, without offset and user bias."""
        row = self.rows(user[None])[0]
        if self.head:
            return np.maximum(self.columns() + row, 0) @ self.weight + self.bias
        return self.movies @ row + self.bias

    def complete(self, scores: np.ndarray, user_bias: np.ndarray | float) -> np.ndarray:
        """Adds offset and user bias to scores, and clips them to the rating scale: float32."""
        scores = (scores + np.float32(self.offset) + user_bias).astype(np.float32)
        return scores if self.scale is None else scores.clip(*self.scale)
