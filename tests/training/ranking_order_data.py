"""Likes whose order says what comes next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset

USERS, MOVIES = 150, 40


def write_chains(directory: Path, **options) -> PreparedDataset:
    """Every user likes movies in the order of a ring, from a random one on, with a few others between."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        start, length, seen = generator.integers(MOVIES), generator.integers(8, 16), set()
        for step in range(length):
            movie = (start + step) % MOVIES if generator.random() < 0.85 else generator.integers(MOVIES)
            if movie not in seen:
                rows.append((user, 100 + movie, 5, 1_500_000_000 + 60 * (user + step)))
            seen.add(movie)
    directory.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"]).to_csv(
        directory / "ratings.csv", index=False
    )
    prepare(
        directory / "prepared",
        PrepareOptions(ratings=directory / "ratings.csv", **{"protocol": "leave-last"} | options),
    )
    return PreparedDataset(directory / "prepared")
