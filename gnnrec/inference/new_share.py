"""Lists with a given share of new movies, those without training ratings."""

from __future__ import annotations

import numpy as np

#: Complete scores, rows of movies, -1 for none, and predicted ratings or None, all ``[users, n]``, best first.
Lists = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def new_places(share: float | None, top: int) -> int | None:
    """Returns the number of places of each list for new movies; None for no given number.

    Args:
        share: Their share of a list; None for no given one.
        top: Movies of a list.
    """
    return None if share is None else int(share * top + 0.5)


def split_by_news(allowed: np.ndarray | None, cold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits the movies that may be recommended into known and new ones, bool ``[movies]`` each.

    Args:
        allowed: bool ``[movies]``; None for all.
        cold: Movies without training ratings, bool ``[movies]``.
    """
    allowed = np.ones(len(cold), bool) if allowed is None else allowed
    return allowed & ~cold, allowed & cold


def join_lists(known: Lists, new: Lists, top: int) -> Lists:
    """Joins lists of known and of new movies, in the order of scores: all of the new ones, and the best known ones.

    Args:
        known: Lists of known movies.
        new: Lists of new movies, as many as there are places for them.
        top: Movies of a list.
    """
    places = top - (new[1] >= 0).sum(1, keepdims=True)
    kept = np.where(np.arange(known[1].shape[1]) < places, known[1], -1)
    movies = np.concatenate([kept, new[1]], 1)
    scores = np.where(movies >= 0, np.concatenate([known[0], new[0]], 1), -np.inf).astype(np.float32)
    order = np.lexsort((movies, -scores), axis=1)[:, :top]
    scores, movies = (np.take_along_axis(values, order, 1) for values in (scores, movies))
    if known[2] is None or new[2] is None:
        return scores, movies, None
    return scores, movies, np.take_along_axis(np.concatenate([known[2], new[2]], 1), order, 1)
