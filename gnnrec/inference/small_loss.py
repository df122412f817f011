"""Measures how far lists and scores of small vectors are from those of float32 vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnnrec.inference.small_vectors import SignScheme, decode, quantize

#: Movies for each user, users of the sample, and candidates of a first pass for each movie of a list.
TOP, SAMPLE_USERS, CANDIDATES = 20, 1000, 20


def measure_loss(
    users: np.ndarray, movies: np.ndarray, bias: np.ndarray, own: int, scheme: SignScheme | None
) -> dict[str, Any]:
    """Returns the manifest entry ``quantization``.

    Args:
        users: Vectors of a sample of users, float32 ``[users, dim]``.
        movies: Vectors of all movies, float32 ``[movies, dim]``.
        bias: Biases of movies, float32 ``[movies]``.
        own: Columns before those of interest.
        scheme: The signs; None without.
    """
    dim = movies.shape[1]
    small, small_users = (decode(quantize(vectors, own), own) for vectors in (movies, users))
    squares, ratings, hits, sign_hits = 0.0, 0.0, 0, 0
    top = min(TOP, len(movies))
    signs = None if scheme is None else scheme.columns(small)
    for first in range(0, len(users), 64):
        rows = slice(first, first + 64)
        exact, found = users[rows] @ movies.T + bias, small_users[rows] @ small.T + bias
        squares += float(((exact - found).astype(np.float64) ** 2).sum())
        own_exact, own_found = users[rows, :own] @ movies[:, :own].T, small_users[rows, :own] @ small[:, :own].T
        ratings += float(((own_exact - own_found).astype(np.float64) ** 2).sum())
        lowest = np.partition(exact, -top, 1)[:, -top, None]
        hits += _hits(exact, lowest, _best(found, top))
        if signs is not None and scheme is not None:
            estimated = scheme.estimate(small_users[rows], signs["signs"], signs["sign_size"], bias)
            candidates = _best(estimated, min(CANDIDATES * top, len(movies)))
            ordered = _best(np.take_along_axis(found, candidates, 1), top)
            sign_hits += _hits(exact, lowest, np.take_along_axis(candidates, ordered, 1))
    places, pairs = top * len(users), len(users) * len(movies)
    scales = 1 if own == dim else 2
    entry: dict[str, Any] = {
        f"recall@{TOP}": round(hits / places, 4) if places else None,
        "score_rmse": (squares / pairs) ** 0.5 if pairs else None,
        "own_columns_rmse": (ratings / pairs) ** 0.5 if pairs else None,
        "recall_users": len(users),
        "vector_bytes": dim + 4 * scales,
        "float32_bytes": 4 * dim,
    }
    if scheme is not None:
        entry["signs"] = {
            f"recall@{TOP}": round(sign_hits / places, 4) if places else None,
            "candidates": CANDIDATES * TOP,
            "first_pass_bytes": -(-dim // 8) + 8,  # signs, their size, and the bias
            "reranked_bytes": CANDIDATES * TOP * entry["vector_bytes"],
            "center": scheme.center.tolist(),
            "column_size": scheme.size.tolist(),
        }
    return entry


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Returns the columns of the highest scores of each row."""
    return np.argpartition(-scores, count - 1, 1)[:, :count]


def _hits(exact: np.ndarray, lowest: np.ndarray, rows: np.ndarray) -> int:
    """Counts the listed movies whose exact score is among the highest ones; equal scores are equally good."""
    return int((np.take_along_axis(exact, rows, 1) >= lowest - 1e-6 * np.abs(lowest)).sum())
