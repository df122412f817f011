"""Ratings with a split that is given, and tables of features, for tests of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

USERS, MOVIES = 60, 40
#: Nodes without training ratings: their ratings are all test.
COLD_USERS, COLD_MOVIES = {3, 17, 44}, {2, 5, 11, 30}


def ratings() -> pd.DataFrame:
    """900 ratings of 60 users for 40 movies, ids from 1 on; cold users' and movies' are test."""
    rng = np.random.default_rng(5)
    pairs = rng.permutation(USERS * MOVIES)[:900]
    table = pd.DataFrame({"user": pairs // MOVIES + 1, "movie": pairs % MOVIES + 1, "rating": rng.integers(1, 6, 900)})
    is_cold = table["user"].isin(COLD_USERS) | table["movie"].isin(COLD_MOVIES)
    return table.assign(split=np.where(is_cold, "test", "train"))


def users() -> pd.DataFrame:
    """A column of every kind for all users but one, and for one without ratings, in random order."""
    rng = np.random.default_rng(6)
    rows = USERS + 1
    since = np.datetime64("1999-12-30") + rng.integers(0, 4000, rows)
    table = pd.DataFrame(
        {
            "user": np.arange(1, rows + 1),
            "age": rng.integers(18, 80, rows).astype(float),
            "height": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(170, 10, rows).round(1)),
            "job": rng.choice(["nurse", "cook", "pilot", "poet", "smith"], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]),
            "since": since.astype(str),
            "likes": [
                "|".join(rng.choice(["tea", "jazz", "chess", "golf"], rng.integers(1, 4), False)) for _ in range(rows)
            ],
        }
    )
    return table[table["user"] != 9].sample(frac=1, random_state=0)


def movies() -> pd.DataFrame:
    """Plots and vectors of all movies."""
    rng = np.random.default_rng(7)
    words = ["storm", "river", "robot", "wedding", "murder", "island", "school", "ghost", "train", "desert"]
    plots = [" ".join(["A film about a", *rng.choice(words, 4)]) for _ in range(MOVIES)]
    vectors = rng.normal(size=(MOVIES, 6)) @ rng.normal(size=(6, 6)) + 5
    return pd.DataFrame({"movie": np.arange(1, MOVIES + 1), "plot": plots, "embedding": list(vectors)})


def write(directory: Path) -> dict:
    """Writes the files and returns options of ``prepare``."""
    ratings().to_csv(directory / "ratings.csv", index=False)
    users().to_csv(directory / "users.csv", index=False)
    movies().to_parquet(directory / "movies.parquet")
    return {
        "ratings": directory / "ratings.csv",
        "split_column": "split",
        "user_features": [str(directory / "users.csv")],
        "movie_features": [str(directory / "movies.parquet")],
        "feature_dims": 4,
        "shards": 4,
    }
