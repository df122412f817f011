"""How pairs are scored: movies, and the weights of a head."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Scoring:
    """All movies, as an export has them.

    Attributes:
        movies: float32 ``[movies, dim]``.
        bias: float32 ``[movies]``.
        offset: Added to all scores.
        scale: Lowest and highest rating, or None where scores have no scale.
        head: Weights of an MLP head by their names in :class:`gnnrec.models.head.MLPHead`; empty for products.
    """

    movies: np.ndarray
    bias: np.ndarray
    offset: float
    scale: tuple[float, float] | None
    head: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """What a score is."""
        return "score" if self.scale is None else "rating"

    @property
    def weight(self) -> np.ndarray | None:
        """Weights of hidden units, float32 ``[hidden]``; None for products."""
        return self.head["out.weight"].reshape(-1).astype(np.float32) if self.head else None

    def columns(self) -> np.ndarray:
        """What users' rows (:meth:`rows`) are multiplied with, or added to: float32 ``[movies, dim or hidden]``."""
        return self.movies @ self.head["movie.weight"].T if self.head else self.movies

    def rows(self, users: np.ndarray) -> np.ndarray:
        """Float32 ``[users, dim or hidden]`` from vectors ``[users, dim]``."""
        return users @ self.head["user.weight"].T + self.head["user.bias"] if self.head else users

    def scores(self, user: np.ndarray) -> np.ndarray:
        """Scores of all movies for one vector, but for what does not tell movies apart: float32 ``[movies]``."""
        row = self.rows(user[None])[0]
        if self.head:
            return np.maximum(self.columns() + row, 0) @ self.weight + self.bias
        return self.movies @ row + self.bias

    def shown(self, scores: np.ndarray, user_bias: np.ndarray | float) -> np.ndarray:
        """Complete scores, as users see them: float32."""
        complete = (scores + np.float32(self.offset) + user_bias).astype(np.float32)
        return complete if self.scale is None else complete.clip(*self.scale)
