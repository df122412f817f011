"""Users of requests with their vectors: known ones, and new ones by their ratings."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.inference.vector_source import UserBlock
from gnnrec.serving.errors import RequestError
from gnnrec.serving.requests import NewUser, rated_rows
from gnnrec.serving.snapshot import Snapshot

_NOTHING = np.empty(0, np.int64)


@dataclasses.dataclass(frozen=True)
class Target:
    """A user with a vector.

    Attributes:
        user: The vector.
        rated: Rows of rated movies, which are not recommended.
        row: Row of a known user; None for a new one.
        sent: Rows, ratings and times (None if unknown) that the vector of a new user was computed from.
    """

    user: UserBlock
    rated: np.ndarray
    row: int | None
    sent: tuple[np.ndarray, np.ndarray, np.ndarray | None] = (_NOTHING, _NOTHING, None)


def find_target(snapshot: Snapshot, user: str | NewUser) -> Target:
    """Returns a known user, or encodes a new one.

    Raises:
        RequestError: The user or a rated movie is unknown, or the export cannot encode new users.
    """
    if isinstance(user, str):
        row = snapshot.find_user(user)
        return Target(snapshot.user(row), snapshot.rated.movie[snapshot.rated.of(row)], row)
    encoder = snapshot.encoder
    if encoder is None:
        raise RequestError(
            400, "ratings: this export has no encoder of new users, ask for known ones or export it again"
        )
    rows = rated_rows(user, snapshot.movies, encoder.rating_scale)
    sends = rows < encoder.num_movies  # movies that are not in the dataset send no messages
    sent = rows[sends], user.ratings[sends], None if user.times is None else user.times[sends]
    encoded = encoder.encode(*sent)
    return Target(UserBlock(None, encoded.vector[None], np.array([encoded.bias], np.float32)), rows, None, sent)
