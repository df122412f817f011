"""Reasons of recommendations, in the form of answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.reasons.explain import explain
from gnnrec.inference.reasons.known import known_ratings, parts_of_stored
from gnnrec.serving.errors import RequestError
from gnnrec.serving.requests import ListRequest
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import Target

#: Most ratings of a user, times movies, that one list has reasons for: a worker answers nothing else meanwhile.
MOST_PARTS = 2_000_000


def reasons_of(snapshot: Snapshot, request: ListRequest, target: Target, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the reasons of movies (:meth:`gnnrec.inference.reasons.explain.Reasons.as_dict`).

    Args:
        snapshot: The vectors.
        request: The list; ``why`` is the number of ratings to name.
        target: The user.
        rows: Rows of the movies.

    Raises:
        RequestError: The export cannot explain its scores, or they are too many.
    """
    order = snapshot.ranker(request.order_by).order
    try:
        parts = _parts(snapshot, target)
        ratings = len(parts.rated.movie)
        if len(rows) > (most := max(1, MOST_PARTS // max(ratings, 1))):
            raise RequestError(400, f"why: the user has {ratings} ratings, ask for at most {most} movies at a time")
        found = explain(order, target.user, parts, rows)
    except UserError as error:
        raise RequestError(400, str(error).replace("--why", "why")) from None
    return [reasons.as_dict(snapshot.movies, request.why) for reasons in found]


def _parts(snapshot: Snapshot, target: Target) -> UserParts:
    """Splits the vector of a user.

    Raises:
        RequestError: The export has no files to encode users with.
    """
    encoder = snapshot.encoder
    if encoder is None:
        raise RequestError(400, "why: this export has no files to encode users with: leave it out, or export again")
    if target.row is None:
        return encoder.explained(*target.sent)
    ratings = known_ratings(snapshot.rated, target.row, encoder.splits)  # type: ignore[arg-type]
    x = snapshot.user_features(target.row) if encoder.feature_columns else None
    return parts_of_stored(encoder, ratings, x, target.user.vectors[0], target.row)
