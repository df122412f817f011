"""Errors and lists on ratings that a generation was not trained on, from its export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.blocks import blocks, user_blocks
from gnnrec.data.growth.increment import Increment
from gnnrec.data.growth.merge import find_ratings
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.inference.export_vectors import ExportVectors, read_manifest
from gnnrec.inference.generations.stored_rows import StoredRows
from gnnrec.inference.pair_scores import PairScores

#: Users whose vectors are in memory at a time, users whose lists are measured, and ratings read at a time.
_CHUNK, _USERS, _RATINGS = 65_536, 2_000, 1 << 20
#: Users whose scores of all movies are in memory at a time.
_LISTS = 64
#: Length of the lists.
_LENGTH = 20


def on_new_ratings(
    export: Path, dataset: PreparedDataset, increment: Increment, liked: float
) -> dict[str, float | int]:
    """Error and NDCG on new ratings of users and movies that the export knows, before they are trained on.

    Args:
        export: Export of the current generation.
        dataset: Its dataset, before the ratings are appended.
        increment: The new ratings.
        liked: Lowest rating of a movie that its user likes.

    Returns:
        ``ratings``, those of known users and movies, new pairs only; ``rmse`` and ``ndcg@20`` where there are any.
    """
    _, replaces = find_ratings(dataset, increment.user, increment.movie)
    known = (increment.user < dataset.num_users) & (increment.movie < dataset.num_movies) & ~replaces
    user, movie, rating = increment.user[known], increment.movie[known], increment.columns["rating"][known]
    found: dict[str, float | int] = {"ratings": len(user)}
    if not len(user):
        return found
    vectors = ExportVectors(export, dataset.directory)
    if vectors.scoring.scale is not None:
        predicted = PairScores(vectors, _CHUNK).scores(user, movie)
        found["rmse"] = float(np.sqrt(np.mean((predicted.astype(np.float64) - rating) ** 2)))
    likes = rating >= liked
    if likes.any():
        found["ndcg@20"] = _ndcg(vectors, dataset, user[likes], movie[likes])
    return found


def _ndcg(vectors: ExportVectors, dataset: PreparedDataset, user: np.ndarray, movie: np.ndarray) -> float:
    """Mean NDCG of lists over all movies that a user has not rated; Liang et al., WWW 2018."""
    scoring, gains = vectors.scoring.both(), 1 / np.log2(np.arange(2, _LENGTH + 2))
    liked = pd.Series(movie).groupby(user).agg(np.asarray)
    liked = liked.iloc[:: -(-len(liked) // _USERS)]
    values = []
    for block in blocks(len(liked), _LISTS):
        rows, movies = liked.index.to_numpy()[block], liked.to_numpy()[block]
        users = np.concatenate([vectors.block(range(row, row + 1)).vectors for row in rows.tolist()])
        if scoring.head:
            scores = np.stack([scoring.scores(user) for user in users])
        else:
            scores = users @ scoring.movies.T + scoring.bias
        for row, of_user, wanted in zip(rows.tolist(), scores, movies):
            of_user[dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]]] = -np.inf
            length = min(_LENGTH, len(of_user))
            best = np.argpartition(-of_user, length - 1)[:length]
            hits = np.isin(best[np.argsort(-of_user[best], kind="stable")], wanted)
            values.append(gains[:length][hits].sum() / gains[: min(length, len(wanted))].sum())
    return float(np.mean(values))


def errors_on_test(exports: list[Path], dataset: PreparedDataset) -> list[float | None]:
    """Test RMSE of several exports on the same ratings: of users and movies that all of them have.

    Args:
        exports: The exports; their datasets are parts of ``dataset``.
        dataset: The dataset.

    Returns:
        An RMSE for each export; None without such ratings.
    """
    stored = [StoredRows(export, read_manifest(export)) for export in exports]
    ids = {"users": pd.Index(dataset.users["user"]), "movies": pd.Index(dataset.movies["movie"])}
    movies = [rows.rows("movies", ids["movies"]) for rows in stored]
    known_movie = np.logical_and.reduce([known for known, _ in movies])
    squares, count = np.zeros(len(exports)), 0
    for first, last in user_blocks(dataset.user_ptr, _RATINGS):
        edges = slice(int(dataset.user_ptr[first]), int(dataset.user_ptr[last]))
        owner = np.repeat(np.arange(last - first), np.diff(dataset.user_ptr[first : last + 1]))
        test = (np.asarray(dataset.split[edges]) == TEST) & known_movie[dataset.movie[edges]]
        owner, movie, rating = owner[test], dataset.movie[edges][test], dataset.rating[edges][test]
        needed, place = np.unique(owner, return_inverse=True)
        users = [rows.rows("users", ids["users"][first:last][needed]) for rows in stored]
        both = np.logical_and.reduce([known for known, _ in users])[place] if len(place) else np.zeros(0, bool)
        for number, rows in enumerate(stored):
            predicted = _ratings(rows, users[number][1], movies[number][1], place[both], movie[both])
            squares[number] += ((predicted - rating[both]) ** 2).sum()
        count += int(both.sum())
    return [float(np.sqrt(total / count)) if count else None for total in squares]


def _ratings(rows: StoredRows, users: dict, movies: dict, user: np.ndarray, movie: np.ndarray) -> np.ndarray:
    """Predicted ratings of pairs, float64, clipped to the scale."""
    manifest = rows.manifest
    own = manifest["interest"]["columns"][0] if "interest" in manifest else manifest["dim"]
    predicted = np.empty(len(user))
    for pairs in blocks(len(user)):
        one, other = user[pairs], movie[pairs]
        products = (users["embedding"][one, :own].astype(np.float64) * movies["embedding"][other, :own]).sum(1)
        predicted[pairs] = manifest["offset"] + users["bias"][one] + movies["bias"][other] + products
    return predicted.clip(*manifest["rating_scale"])
