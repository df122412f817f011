"""Encoders of new users, as answers need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np


class NewUserEncoder(Protocol):
    """Vectors of users from their ratings alone.

    Attributes:
        num_movies: Movies whose ratings count; those behind them have no messages.
    """

    num_movies: int

    def encode(self, movie: np.ndarray, rating: np.ndarray, time: np.ndarray | None = None) -> Any:
        """Returns ``vector``, float32 ``[dim]``, and ``bias`` of a user.

        Args:
            movie: Rows of movies, int64 ``[ratings]``.
            rating: float32 ``[ratings]``.
            time: Times in seconds, int64 ``[ratings]``; None if they are not known.
        """


def open_encoder(directory: Path, manifest: dict[str, Any]) -> NewUserEncoder | None:
    """Opens the encoder of a converted export; None where it has none."""
    return None
