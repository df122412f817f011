"""Prepares random ratings in which every movie is as likely as any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.prepare import PrepareOptions, prepare


def write_even_ratings(directory: Path, users: int, movies: int, ratings_a_user: int) -> int:
    """Writes ``directory/prepared``, all of it train; returns the number of movies that have ratings.

    A user has one movie from each of ``ratings_a_user`` stretches of equal length, so all are distinct.
    """
    rng = np.random.default_rng(0)
    stretch = movies // ratings_a_user
    movie = rng.integers(0, stretch, (users, ratings_a_user)) + np.arange(ratings_a_user) * stretch
    table = {
        "userId": np.repeat(np.arange(users), ratings_a_user),
        "movieId": movie.ravel(),
        "rating": rng.integers(1, 11, movie.size) / 2,
    }
    pd.DataFrame(table).to_parquet(directory / "ratings.parquet")
    options = PrepareOptions(ratings=directory / "ratings.parquet", test=0.0, validation=0.0)
    return int(prepare(directory / "prepared", options).counts["movies"])
