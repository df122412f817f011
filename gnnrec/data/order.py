"""Orders users and cuts them into shards: contiguous row ranges with about equal numbers of ratings."""

from __future__ import annotations

import numpy as np

from gnnrec.data import draws
from gnnrec.errors import UserError


def order_key(seed: int) -> int:
    """Key of the random stream that orders users."""
    return draws.key(seed, "order")


def balanced_order(user_hash: np.ndarray, seed: int) -> np.ndarray:
    """Draws a random order of the users, keyed by their raw ids.

    Args:
        user_hash: int64 ``[users]`` in ascending order of the raw ids (which breaks ties).
        seed: Seed.

    Returns:
        int64 ``[users]``: the users (positions in ``user_hash``) in row order.
    """
    return draws.permutation(order_key(seed), user_hash)


def balanced_shards(user_ptr: np.ndarray, shards: int) -> list[int]:
    """Cuts users into ``min(shards, users)`` non-empty ranges with about equal numbers of ratings.

    Args:
        user_ptr: int64 ``[users + 1]``.
        shards: Requested number of shards.

    Returns:
        Ascending row boundaries, one more than there are shards.
    """
    users = len(user_ptr) - 1
    shards = min(shards, users)
    target = np.arange(shards + 1) * (user_ptr[-1] / shards)
    after = np.clip(np.searchsorted(user_ptr, target), 1, users)
    nearer_before = target - user_ptr[after - 1] < user_ptr[after] - target
    bounds = after - nearer_before
    step = np.arange(shards + 1)
    bounds[0], bounds[-1] = 0, users
    bounds = np.maximum.accumulate(bounds - step) + step  # at least one user in each, from the left
    return np.minimum(bounds, users - (shards - step)).tolist()  # and from the right


def metis_parts(user_ptr: np.ndarray, movie: np.ndarray, num_movies: int, parts: int, seed: int) -> np.ndarray:
    """Partitions the user-movie graph with METIS so that users who rated the same movies share a part.

    Users are weighted by their number of ratings and movies by zero, so parts have about equal numbers of ratings.

    Args:
        user_ptr: int64 ``[users + 1]``.
        movie: int32 ``[ratings]``, movie rows.
        num_movies: Number of movies.
        parts: Number of parts, at most the number of users.
        seed: METIS' seed.

    Returns:
        The part of each user, int64 ``[users]``; every part from 0 to ``parts - 1`` has at least one user.

    Raises:
        UserError: pymetis is not installed.
    """
    try:
        import pymetis
    except ImportError:
        raise UserError("--order metis needs the pymetis package: pip install gnnrec[metis]") from None
    users, degree = len(user_ptr) - 1, np.diff(user_ptr)
    if parts == 1:
        return np.zeros(users, np.int64)
    by_movie = np.argsort(movie, kind="stable")
    raters = np.repeat(np.arange(users), degree)[by_movie]
    movie_ptr = np.cumsum(np.bincount(movie, minlength=num_movies))
    _, membership = pymetis.part_graph(
        parts,
        pymetis.CSRAdjacency(
            np.concatenate([user_ptr, user_ptr[-1] + movie_ptr]),
            np.concatenate([movie.astype(np.int64) + users, raters]),
        ),
        vweights=np.concatenate([degree, np.zeros(num_movies, np.int64)]),
        options=pymetis.Options(seed=seed % (1 << 31)),
        recursive=False,
    )
    return _fill_empty_parts(np.asarray(membership[:users], np.int64), degree, parts)


def _fill_empty_parts(part: np.ndarray, degree: np.ndarray, parts: int) -> np.ndarray:
    """Gives every empty part half of the ratings of the heaviest part that has more than one user."""
    for empty in np.flatnonzero(np.bincount(part, minlength=parts) == 0):
        load = np.bincount(part, weights=degree, minlength=parts)
        load[np.bincount(part, minlength=parts) < 2] = -1
        members = np.flatnonzero(part == load.argmax())
        half = np.searchsorted(np.cumsum(degree[members]), degree[members].sum() / 2)
        part[members[np.clip(half, 1, len(members) - 1) :]] = empty
    return part


def parts_to_order(part: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Makes parts contiguous; users keep their order within a part.

    Returns:
        int64 ``[users]`` (users in their new order) and the row boundaries of the parts.
    """
    bounds = np.concatenate([[0], np.cumsum(np.bincount(part))])
    return np.argsort(part, kind="stable"), bounds.tolist()


def imbalance(user_ptr: np.ndarray, bounds: list[int]) -> float:
    """Ratings of the largest shard divided by the mean over shards."""
    edges = np.diff(user_ptr[np.asarray(bounds)])
    return float(edges.max() / edges.mean())
