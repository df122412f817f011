"""Users of requests with their vectors: known ones, and new ones by their ratings."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.vector_source import UserBlock
from gnnrec.serving.errors import RequestError
from gnnrec.serving.requests import NewUser, rated_rows
from gnnrec.serving.snapshot import Snapshot


@dataclasses.dataclass(frozen=True)
class Target:
    """A user with a vector.

    Attributes:
        user: The vector.
        rated: Rows of rated movies, which are not recommended.
        ratings: Their ratings, float32.
        row: Row of a known user; None for a new one.
    """

    user: UserBlock
    rated: np.ndarray
    ratings: np.ndarray
    row: int | None


def find_target(snapshot: Snapshot, user: str | NewUser) -> Target:
    """Returns a known user, or encodes a new one.

    Raises:
        RequestError: The user or a rated movie is unknown, or the export cannot encode new users.
    """
    if isinstance(user, str):
        row = snapshot.find_user(user)
        own = snapshot.rated.of(row)
        return Target(snapshot.user(row), snapshot.rated.movie[own], snapshot.rated.rating[own], row)
    encoder = snapshot.encoder
    if encoder is None:
        raise RequestError(
            400, "ratings: this export has no encoder of new users, ask for known ones or export it again"
        )
    rows = rated_rows(user, snapshot.movies, getattr(encoder, "rating_scale", snapshot.scoring.scale))
    sends = rows < encoder.num_movies
    encoded = encoder.encode(rows[sends], user.ratings[sends])
    block = UserBlock(None, np.asarray(encoded.vector, np.float32)[None], np.array([encoded.bias], np.float32))
    return Target(block, rows, user.ratings, None)
