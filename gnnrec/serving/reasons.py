"""Reasons of recommendations, in the form of answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.reasons.explain import explain
from gnnrec.inference.reasons.known import known_ratings, parts_of_stored
from gnnrec.serving.errors import RequestError
from gnnrec.serving.movie_table import MovieTable
from gnnrec.serving.requests import ListRequest
from gnnrec.serving.snapshot import Snapshot
from gnnrec.serving.targets import Target


@dataclasses.dataclass(frozen=True)
class _Id:
    """A raw id with the method of Arrow's scalars."""

    value: int | str

    def as_py(self) -> int | str:
        return self.value


class _Ids:
    def __init__(self, movies: MovieTable):
        self._ids = movies.ids

    def __getitem__(self, row: int) -> _Id:
        return _Id(self._ids[row])


@dataclasses.dataclass(frozen=True)
class _Names:
    """Ids and titles as :class:`gnnrec.inference.reasons.explain.Names` has them."""

    movies: _Ids
    titles: Any


def reasons_of(snapshot: Snapshot, request: ListRequest, target: Target, rows: np.ndarray) -> list[dict[str, Any]]:
    """Returns the reasons of movies (:meth:`gnnrec.inference.reasons.explain.Reasons.as_dict`).

    Args:
        snapshot: The vectors.
        request: The list; ``why`` is the number of ratings to name.
        target: The user.
        rows: Rows of the movies.

    Raises:
        RequestError: The export cannot explain its scores.
    """
    names = _Names(_Ids(snapshot.movies), snapshot.movies.titles)
    order = snapshot.ranker(request.order_by).order
    try:
        found = explain(order, target.user, _parts(snapshot, target), rows)
    except UserError as error:
        raise RequestError(400, str(error).replace("--why", "why")) from None
    return [reasons.as_dict(names, request.why) for reasons in found]


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
