"""Sorts ratings by (user row, movie row) and drops duplicate pairs."""

from __future__ import annotations

import numpy as np

from gnnrec.data.blocks import blocks


def sort_edges(user: np.ndarray, movie: np.ndarray, timestamp: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Sorts ratings and keeps one for each pair of user and movie.

    Keeps the latest of several ratings of a pair; without timestamps or with equal ones, the last in the file.

    Args:
        user: int ``[ratings]``, user rows.
        movie: int ``[ratings]``, movie rows.
        timestamp: int64 ``[ratings]`` or None.

    Returns:
        Positions of the kept ratings sorted by user row and movie row, and the number of dropped ones.
    """
    total = len(user)
    if not total:
        return np.zeros(0, np.int64), 0
    superseded = np.zeros(total, bool)  # the next rating is of the same pair
    position_bits = max(1, int(total - 1).bit_length())
    movie_bits = int(movie.max()).bit_length()
    if int(user.max()).bit_length() + movie_bits + position_bits <= 63:
        # One sort of plain integers: (user, movie, position) packed into 64 bits.
        packed = np.empty(total, np.int64)
        for block in blocks(total):
            pairs = (user[block].astype(np.int64) << movie_bits) | movie[block]
            packed[block] = (pairs << position_bits) | np.arange(block.start, block.stop)
        packed.sort()
        for block in blocks(total - 1):
            first, second = packed[:-1][block], packed[1:][block]
            superseded[block] = (first ^ second) >> position_bits == 0
        packed &= (1 << position_bits) - 1
        order = packed
    else:
        order = np.lexsort((movie, user))
        for block in blocks(total - 1):
            first, second = order[:-1][block], order[1:][block]
            superseded[block] = (user[first] == user[second]) & (movie[first] == movie[second])
    if not superseded.any():
        return order, 0
    if timestamp is not None:
        in_group = np.flatnonzero(superseded | np.append(False, superseded[:-1]))
        candidates = order[in_group]
        by_time = np.lexsort((candidates, timestamp[candidates], movie[candidates], user[candidates]))
        order[in_group] = candidates[by_time]
    return order[~superseded], int(superseded.sum())


def sum_by_pair(
    user: np.ndarray, movie: np.ndarray, kept: np.ndarray, value: np.ndarray, split: np.ndarray | None = None
) -> np.ndarray:
    """Sums the values of all ratings of each kept pair: the number of its events, if each one has the value 1.

    Args:
        user: int ``[ratings]``, user rows.
        movie: int ``[ratings]``, movie rows.
        kept: Positions of the kept ratings, as :func:`sort_edges` returns them.
        value: float ``[ratings]``.
        split: Given splits, uint8 ``[ratings]``; only values of the kept rating's split are then summed.

    Returns:
        float32 ``[kept]``.
    """
    pairs = user.astype(np.int64) * (int(movie.max()) + 1) + movie
    position = np.searchsorted(pairs[kept], pairs)
    if split is not None:
        value = np.where(split == split[kept][position], value, 0)
    return np.bincount(position, value, len(kept)).astype(np.float32)


def row_pointers(sorted_user: np.ndarray, num_users: int) -> np.ndarray:
    """Offsets of each user's first rating, int64 ``[num_users + 1]``."""
    return np.searchsorted(sorted_user, np.arange(num_users + 1, dtype=sorted_user.dtype))


def reorder_users(
    user_ptr: np.ndarray, arrays: dict[str, np.ndarray], old_rows: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Reorders users together with their ratings.

    Args:
        user_ptr: int64 ``[users + 1]``.
        arrays: Arrays ``[ratings]`` sorted by user row.
        old_rows: int64 ``[users]``, the old rows in their new order.

    Returns:
        The new ``user_ptr`` and arrays.
    """
    ratings = np.diff(user_ptr)[old_rows]
    pointers = np.concatenate([[0], np.cumsum(ratings)])
    source = np.repeat(user_ptr[old_rows] - pointers[:-1], ratings) + np.arange(pointers[-1])
    return pointers, {name: array[source] for name, array in arrays.items()}
