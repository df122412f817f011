"""Split protocols that hold out whole movies or users: what a model knows of them is their features."""

from __future__ import annotations

import numpy as np

from gnnrec.data import draws
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.data.split_input import SplitInput
from gnnrec.errors import UserError


def cold_movies(data: SplitInput) -> np.ndarray:
    """Holds out all ratings of some movies: test with probability ``test``, else validation with ``validation``.

    Raises:
        UserError: No movie is left to train on.
    """
    role = _roles(data, "held-out movie", data.movie_hash)
    if not (role == TRAIN).any():
        raise UserError("all movies are held out: lower --test or --validation")
    split = np.empty(len(data.movie), np.uint8)
    for first, end in data.user_blocks():
        edges = slice(data.user_ptr[first], data.user_ptr[end])
        split[edges] = role[data.movie[edges]]
    return split


def cold_users(data: SplitInput) -> np.ndarray:
    """Holds out all ratings of some users, as :func:`cold_movies` those of movies."""
    return np.repeat(_roles(data, "held-out user", data.user_hash), np.diff(data.user_ptr))


def _roles(data: SplitInput, purpose: str, hashes: np.ndarray) -> np.ndarray:
    """The split of each node, uint8 ``[nodes]``."""
    draw = draws.uniform(data.key(purpose), hashes)
    held_out = data.test + (1 - data.test) * data.validation
    role = np.where(draw < held_out, np.uint8(VALIDATION), np.uint8(TRAIN))
    role[draw < data.test] = TEST
    return role
