"""Small prepared datasets for tests."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.features.node_features import FeatureGroup, features_file, write_schema
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TRAIN, PreparedDataset
from gnnrec.data.write_prepared import write_manifest


def ratings_table(users: int, movies: int, ratings: int, seed: int = 0) -> pd.DataFrame:
    """Distinct (user, movie) pairs with long-tailed movies, and half stars that depend on both."""
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, movies + 1) ** 0.7
    activity = 1 / np.arange(1, users + 1) ** 0.5
    weight = np.outer(activity, popularity).ravel()
    pairs = rng.choice(users * movies, size=ratings, replace=False, p=weight / weight.sum())
    user, movie = np.divmod(pairs, movies)
    taste = rng.normal(0, 0.6, users)[user] + rng.normal(0, 0.6, movies)[movie]
    taste += (rng.normal(0, 0.5, (users, 3))[user] * rng.normal(0, 0.5, (movies, 3))[movie]).sum(1)
    # Sittings of half an hour, one after another, a day later and a year later.
    start = rng.integers(1e9, 1.4e9, users)[user]
    time = start + rng.choice([0, 90_000, 40_000_000], ratings) + rng.integers(0, 2000, ratings)
    rating = np.clip(np.round(2 * (3.5 + taste + rng.normal(0, 0.4, ratings))) / 2, 0.5, 5)
    return pd.DataFrame(
        {
            "userId": user * 3 + 7,
            "movieId": movie * 5 + 2,
            "rating": rating,
            "timestamp": time,
        }
    )


def write_dataset(
    directory: Path, users: int = 37, movies: int = 29, ratings: int = 431, seed: int = 0, **options
) -> PreparedDataset:
    """Prepares ratings made by :func:`ratings_table`, with titles and genres."""
    directory.mkdir(parents=True, exist_ok=True)
    table = ratings_table(users, movies, ratings, seed)
    table.to_csv(directory / "ratings.csv", index=False)
    ids = np.arange(movies) * 5 + 2
    genres = ["Drama", "Comedy|Drama", "(no genres listed)", "Action|Comedy|Thriller"]
    titles = pd.DataFrame(
        {"movieId": ids, "title": [f"Film {i}" for i in ids], "genres": [genres[i % 4] for i in range(movies)]}
    )
    titles.to_csv(directory / "movies.csv", index=False)
    options = {"ratings": directory / "ratings.csv", "validation": 0.1} | options
    prepare(directory / "prepared", PrepareOptions(**options))
    return PreparedDataset(directory / "prepared")


def write_sparse_dataset(directory: Path, users: int = 1500, movies: int = 300, ratings: int = 4000) -> PreparedDataset:
    """Few ratings of many users, by movie and noise alone: there is nothing that a factor model could learn."""
    rng = np.random.default_rng(1)
    pairs = rng.choice(users * movies, ratings, replace=False)
    user, movie = np.divmod(pairs, movies)
    score = 50 + 12 * rng.normal(size=movies)[movie] + 20 * rng.normal(size=ratings)
    table = pd.DataFrame({"user": user, "item": movie, "score": score.clip(0, 100).round()})
    table.to_csv(directory / "ratings.csv", index=False)
    prepare(directory / "prepared", PrepareOptions(ratings=directory / "ratings.csv", validation=0.15))
    return PreparedDataset(directory / "prepared")


def standardized(dataset: PreparedDataset) -> np.ndarray:
    """Ratings as models see them, by NumPy: deviations from the mean of the train ratings, rounded, float64."""
    rating = np.array(dataset.rating, np.float64)
    train = rating[np.array(dataset.split) == TRAIN]
    return np.round((rating - train.mean()) / (train.std() or 1) * 2**16) / 2**16


def changed_copy(dataset: PreparedDataset, directory: Path, **arrays: np.ndarray) -> PreparedDataset:
    """A copy of a prepared dataset in a new ``directory`` with other arrays, by their names: ``rating``, ``split``."""
    shutil.copytree(dataset.directory, directory)
    for name, array in arrays.items():
        before = getattr(dataset, name)
        assert before.shape == array.shape
        np.save(directory / f"{name}.npy", array.astype(before.dtype))
    manifest = json.loads((directory / "manifest.json").read_text())
    for entry in manifest["files"].values():
        entry.pop("shards", None)  # the checksums that would give the change away; the fingerprint stays
    (directory / "manifest.json").write_text(json.dumps(manifest))
    copy = PreparedDataset(directory)
    assert all((getattr(copy, name) != getattr(dataset, name)).any() for name in arrays)
    return copy


def with_features(dataset: PreparedDataset, directory: Path, **arrays: np.ndarray) -> PreparedDataset:
    """A copy of a prepared dataset in a new ``directory`` with features of ``user`` or ``movie``: float ``[rows, n]``.

    Each column is a group of its own, a number.
    """
    shutil.copytree(dataset.directory, directory, ignore=shutil.ignore_patterns("manifest.json", "*feature*"))
    schemas = {}
    for node, x in arrays.items():
        np.save(directory / features_file(node), x.astype(np.float32))
        schemas[node] = len(x), tuple(FeatureGroup(f"column {k}", "number", k, 1) for k in range(x.shape[1]))
    write_schema(directory, schemas)
    write_manifest(directory, dataclasses.replace(dataset.manifest, files={}))
    return PreparedDataset(directory)


def with_random_features(dataset: PreparedDataset, columns: int = 3) -> PreparedDataset:
    """A copy of a prepared dataset beside it, with normal features of users and movies."""
    generator = np.random.default_rng(0)
    rows = {"user": dataset.num_users, "movie": dataset.num_movies}
    x = {node: generator.normal(size=(count, columns)) for node, count in rows.items()}
    return with_features(dataset, dataset.directory.parent / "with features", **x)
