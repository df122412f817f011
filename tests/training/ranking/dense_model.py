"""The closed form of the ranking model by NumPy, on matrices of users by movies."""

from __future__ import annotations

import numpy as np

from gnnrec.data.prepared import PreparedDataset

USER_POWER, OFFSET = -0.5, 10.0


def table(dataset: PreparedDataset, chosen: np.ndarray) -> np.ndarray:
    """One where a user has one of the chosen ratings, bool ``[ratings]``: ``[users, movies]``."""
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    values = np.zeros((dataset.num_users, dataset.num_movies))
    values[user[chosen], np.asarray(dataset.movie)[chosen]] = 1
    return values


def likes_and_weak(
    dataset: PreparedDataset, splits: tuple[int, ...], weak_splits: tuple[int, ...], relevant: float
) -> tuple[np.ndarray, np.ndarray]:
    """Likes in some splits, and lower ratings in others of the users with likes: ``[users, movies]`` both."""
    split, liked = np.asarray(dataset.split), np.asarray(dataset.rating) >= relevant
    likes = table(dataset, np.isin(split, splits) & liked)
    weak = table(dataset, np.isin(split, weak_splits) & ~liked)
    return likes, weak * (likes.sum(1, keepdims=True) > 0)


def item_weights(likes: np.ndarray, weak: np.ndarray, l2: float, weak_weight: float) -> np.ndarray:
    """Weights of full rank: each column is a ridge regression of a movie on all others, users weighted by likes."""
    counts = likes.sum(1)
    weight = np.where(counts > 0, np.maximum(counts, 1) / counts[counts > 0].mean(), np.inf) ** USER_POWER
    values = likes + weak_weight * weak
    gram = values.T @ (weight[:, None] * values)
    diagonal = np.diag(gram)
    penalty = l2 * (diagonal / diagonal[diagonal > 0].mean() + 0.001) ** 0.3 + diagonal
    weights = np.zeros_like(gram)
    for movie in range(len(gram)):
        others = (np.arange(len(gram)) != movie) & (diagonal > 0)
        left = gram[np.ix_(others, others)] + np.diag(penalty[others])
        weights[others, movie] = np.linalg.solve(left, gram[others, movie])
    return weights


def scores(likes: np.ndarray, weights: np.ndarray, shown: np.ndarray, exponent: float) -> np.ndarray:
    """Scores of all movies with the popularity discount, ``[users, movies]``."""
    return shown @ weights * (likes.sum(0) + OFFSET) ** -exponent


def ndcg(scores: np.ndarray, seen: np.ndarray, wanted: np.ndarray, candidates: np.ndarray) -> float:
    """Mean NDCG@100 of the users with wanted movies."""
    values = []
    for row, known, own in zip(scores, seen, wanted):
        if own.any():
            row = np.where((known > 0) | ~candidates, -np.inf, row)
            order = np.argsort(-row, kind="stable")[:100]
            gain = 1 / np.log2(np.arange(2, 102))
            values.append((own[order] * gain[: len(order)]).sum() / gain[: int(min(own.sum(), 100))].sum())
    return float(np.mean(values))
