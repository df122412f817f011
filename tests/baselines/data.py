"""Datasets and helpers that the tests of several baselines share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from tests.datasets import standardized


def write_low_rank(directory: Path) -> PreparedDataset:
    """Ratings of 150 users and 60 movies that two factors explain and biases do not."""
    rng = np.random.default_rng(0)
    user, movie = np.divmod(rng.permutation(150 * 60)[:5000], 60)
    taste = (rng.normal(size=(150, 2))[user] * rng.normal(size=(60, 2))[movie]).sum(1)
    rating = (5 + 0.4 * rng.normal(size=60)[movie] + taste + rng.normal(0, 0.2, 5000)).clip(0, 10).round(3)
    table = pd.DataFrame({"user": user, "movie": movie, "rating": rating})
    table.to_csv(directory / "ratings.csv", index=False)
    options = PrepareOptions(ratings=directory / "ratings.csv", rating_scale="0 10", validation=0.1)
    prepare(directory / "prepared", options)
    return PreparedDataset(directory / "prepared")


def triples(dataset: PreparedDataset, split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, movies and ratings (float64) of one split."""
    return _chosen(dataset, np.array(dataset.rating, np.float64), split)


def standardized_triples(dataset: PreparedDataset, split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, movies and standardized ratings (float64) of one split."""
    return _chosen(dataset, standardized(dataset), split)


def _chosen(dataset: PreparedDataset, rating: np.ndarray, split: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = np.array(dataset.split) == split
    return user[chosen], np.array(dataset.movie)[chosen], rating[chosen]


def clipped(dataset: PreparedDataset, predicted: np.ndarray) -> np.ndarray:
    """Predictions within the rating scale."""
    return np.clip(predicted, dataset.manifest.rating["min"], dataset.manifest.rating["max"])
