"""Parts of the vectors of users whose ratings are in a prepared dataset or a ratings file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.inference.numpy_users.encoder import NumpyEncoder
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.vector_source import UserBlock

if TYPE_CHECKING:
    from gnnrec.inference.new_users import NewUsers


def known_ratings(
    dataset: PreparedDataset | NewUsers, row: int, splits: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns the movies, ratings and times (None without) that a user is embedded from, sorted by movie.

    Args:
        dataset: The dataset, or users of a file in its shape.
        row: Row of the user.
        splits: Splits whose ratings count.
    """
    dataset.check(row, row + 1)
    edges = slice(int(dataset.user_ptr[row]), int(dataset.user_ptr[row + 1]))
    kept = np.isin(dataset.split[edges], splits)
    time = None if dataset.timestamp is None else np.array(dataset.timestamp[edges])[kept]
    return np.array(dataset.movie[edges])[kept], np.array(dataset.rating[edges])[kept], time


def known_features(dataset: PreparedDataset, users: PreparedDataset | NewUsers, row: int) -> np.ndarray | None:
    """Returns the features of a user, float32 ``[columns]``; None without.

    Args:
        dataset: The dataset, which has those of its users.
        users: The dataset, or users of a file, of whom new ones may have features of their own.
        row: Row of the user.
    """
    if not isinstance(users, PreparedDataset):
        known = int(users.known_row[row])
        if known < 0:
            return None if users.x is None else users.x[row]
        row = known
    features = dataset.features("user")
    return None if features is None else features.read(row, row + 1)[0]


def parts_of_stored(
    encoder: NumpyEncoder,
    ratings: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    x: np.ndarray | None,
    vector: np.ndarray,
    row: int,
) -> UserParts:
    """Splits the vector of a user of an export.

    Where the export has no own rows, and messages do not depend on them, the user's own row is what the vector has
    besides the other parts.

    Args:
        encoder: The encoder of the export.
        ratings: Movies, ratings and times of the user.
        x: Features; None without.
        vector: The stored vector, float ``[columns]``.
        row: Row of the user in the export.

    Raises:
        UserError: The own row is needed, and the export does not have it.
    """
    own = encoder.own_rows(row)
    if own is None and encoder.needs_own_row:
        raise UserError(
            "messages to a known user of this model depend on the user's own row, which the export does not have: pass "
            "the run, or export with --own-rows"
        )
    parts = encoder.explained(*ratings, x=x, own=own)
    if own is not None or not encoder.has_own_row:
        return parts
    rest = vector.astype(np.float64) - parts.vector
    rest[encoder.own_columns :] = 0
    return dataclasses.replace(parts, own=parts.own + rest)


def parts_with_ratings(
    encoder: NumpyEncoder,
    before: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    ratings: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    x: np.ndarray | None,
    stored: UserBlock,
    row: int,
) -> UserParts:
    """Splits the vector that a user of an export has with other ratings; the own row and learned bias stay.

    Args:
        encoder: The encoder of the export.
        before: Movies, ratings and times that the stored vector was computed from.
        ratings: Those that count now.
        x: Features; None without.
        stored: The user in the export.
        row: Its row there.

    Raises:
        UserError: The own row is needed, and the export does not have it.
    """
    own = parts_of_stored(encoder, before, x, stored.vectors[0], row).own
    parts = encoder.explained(*ratings, x=x, own=encoder.own_rows(row))
    if encoder.own_rows(row) is None:
        parts = dataclasses.replace(parts, own=own)
    return dataclasses.replace(parts, bias=float(stored.bias[0]) + encoder.bias_change(before, ratings))
