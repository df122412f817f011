"""Ratings sorted by (user row, movie row), one for each pair."""

from __future__ import annotations

import numpy as np


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
    position_bits = max(1, int(total - 1).bit_length())
    movie_bits = int(movie.max()).bit_length()
    if int(user.max()).bit_length() + movie_bits + position_bits <= 63:
        # One sort of plain integers: (user, movie, position) packed into 64 bits.
        packed = user.astype(np.int64)
        packed <<= movie_bits
        packed |= movie
        packed <<= position_bits
        packed |= np.arange(total, dtype=np.int64)
        packed.sort()
        order = packed & ((1 << position_bits) - 1)
        packed >>= position_bits
        pairs = packed
    else:
        order = np.lexsort((movie, user))
        pairs = user[order].astype(np.int64) << movie_bits
        pairs |= movie[order]
    followed = pairs[1:] == pairs[:-1]  # the next rating is of the same pair
    if not followed.any():
        return order, 0
    if timestamp is not None:
        in_group = np.flatnonzero(np.append(followed, False) | np.append(False, followed))
        candidates = order[in_group]
        order[in_group] = candidates[np.lexsort((candidates, timestamp[candidates], pairs[in_group]))]
    keep = np.append(~followed, True)
    return order[keep], int(total - keep.sum())


def row_pointers(sorted_user: np.ndarray, num_users: int) -> np.ndarray:
    """int64 ``[num_users + 1]``: where each user's ratings start."""
    pointers = np.zeros(num_users + 1, np.int64)
    np.cumsum(np.bincount(sorted_user, minlength=num_users), out=pointers[1:])
    return pointers


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
