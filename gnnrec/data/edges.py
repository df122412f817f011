"""Ratings sorted by (user row, movie row), one for each pair."""

from __future__ import annotations

import numpy as np

from gnnrec.data.blocks import blocks


def sort_edges(user: np.ndarray, movie: np.ndarray, timestamp: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Which ratings to keep, in which order.

    Of several ratings of one movie by one user the latest counts; without or with equal timestamps the one that comes
    last in the file.

    Args:
        user: int ``[ratings]``, user rows.
        movie: int ``[ratings]``, movie rows.
        timestamp: int64 ``[ratings]`` or None.

    Returns:
        Positions of the kept ratings sorted by user row and movie row, and how many were dropped.
    """
    total = len(user)
    followed = np.zeros(total, bool)  # the next rating is of the same pair
    position_bits = max(1, int(total - 1).bit_length())
    movie_bits = int(movie.max()).bit_length()
    if int(user.max()).bit_length() + movie_bits + position_bits <= 63:
        # One sort of plain integers: (user, movie, position) packed into 64 bits.
        packed = np.empty(total, np.int64)
        for part in blocks(total):
            pairs = (user[part].astype(np.int64) << movie_bits) | movie[part]
            packed[part] = (pairs << position_bits) | np.arange(part.start, part.stop)
        packed.sort()
        for part in blocks(total - 1):
            first, second = packed[:-1][part], packed[1:][part]
            followed[part] = (first ^ second) >> position_bits == 0
        packed &= (1 << position_bits) - 1
        order = packed
    else:
        order = np.lexsort((movie, user))
        for part in blocks(total - 1):
            first, second = order[:-1][part], order[1:][part]
            followed[part] = (user[first] == user[second]) & (movie[first] == movie[second])
    if not followed.any():
        return order, 0
    if timestamp is not None:
        in_group = np.flatnonzero(followed | np.append(False, followed[:-1]))
        candidates = order[in_group]
        by_time = np.lexsort((candidates, timestamp[candidates], movie[candidates], user[candidates]))
        order[in_group] = candidates[by_time]
    return order[~followed], int(followed.sum())


def row_pointers(sorted_user: np.ndarray, num_users: int) -> np.ndarray:
    """int64 ``[num_users + 1]``: where each user's ratings start."""
    return np.searchsorted(sorted_user, np.arange(num_users + 1, dtype=sorted_user.dtype))


def reorder_users(
    user_ptr: np.ndarray, arrays: dict[str, np.ndarray], moved: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Puts users, with their ratings, into another order.

    Args:
        user_ptr: int64 ``[users + 1]``.
        arrays: Arrays ``[ratings]`` sorted by user row.
        moved: int64 ``[users]``, the old rows in their new order.

    Returns:
        The new ``user_ptr`` and arrays.
    """
    ratings = np.diff(user_ptr)[moved]
    pointers = np.concatenate([[0], np.cumsum(ratings)])
    source = np.repeat(user_ptr[moved] - pointers[:-1], ratings) + np.arange(pointers[-1])
    return pointers, {name: array[source] for name, array in arrays.items()}
