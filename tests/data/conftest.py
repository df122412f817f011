"""A small ratings table, and fixtures that prepare a file and read back its ratings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """600 ratings of 40 users with MovieLens' columns, distinct pairs in random order."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(40 * 30)[:600]
    return pd.DataFrame(
        {
            "userId": pairs // 30 * 7 + 3,
            "movieId": pairs % 30 * 11 + 5,
            "rating": rng.integers(1, 11, 600) / 2,
            "timestamp": 964982703 + rng.integers(0, 10**7, 600),
        }
    )


def prepare_verified(ratings: Path, out: Path, **options) -> PreparedDataset:
    """Prepares a file and opens the result with all checksums verified."""
    prepare(out, PrepareOptions(ratings=ratings, **options))
    return PreparedDataset(out, verify=True)


def raw_edges(data: PreparedDataset) -> pd.DataFrame:
    """All ratings with raw ids, in ascending order of the ids."""
    user = np.repeat(np.arange(data.num_users), np.diff(data.user_ptr))
    columns = {
        "userId": data.users["user"].to_numpy()[user],
        "movieId": data.movies["movie"].to_numpy()[data.movie],
        "rating": np.asarray(data.rating, np.float64),
        "split": np.asarray(data.split),
    }
    if data.timestamp is not None:
        columns["timestamp"] = np.asarray(data.timestamp)
    return pd.DataFrame(columns).sort_values(["userId", "movieId"], ignore_index=True)


@pytest.fixture
def prepared():
    """The function ``(ratings file, out, **options) -> PreparedDataset``."""
    return prepare_verified


@pytest.fixture
def edges():
    """The function ``PreparedDataset -> DataFrame`` of raw ratings."""
    return raw_edges
