"""Tables of 900 made-up ratings and of 40 movies, from which files are written."""

from __future__ import annotations

import dataclasses
import filecmp
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

NAMES = ["user", "movie", "rating", "time"]


@dataclasses.dataclass
class Case:
    """Files, and what they hold.

    Attributes:
        path: ``--ratings``.
        expected: Columns ``user``, ``movie``, ``rating`` and, if there are times, ``time`` in seconds.
        options: Further options of ``gnnrec prepare``.
        titles: The titles and genres of :func:`movies` are found.
    """

    path: Path
    expected: pd.DataFrame
    options: dict = dataclasses.field(default_factory=dict)
    titles: bool = False


def ratings() -> pd.DataFrame:
    """900 ratings of 60 users for 40 movies, from 1 to 5, no pair twice, shuffled."""
    return _ratings().copy()


@cache
def _ratings() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    pairs = np.concatenate([np.arange(60) * 40 + np.arange(60) % 40, rng.permutation(2400)])
    pairs = rng.permutation(pd.unique(pairs)[:900])
    return pd.DataFrame(
        {
            "user": pairs // 40 + 1,
            "movie": pairs % 40 + 1,
            "rating": rng.integers(1, 6, 900).astype(float),
            "time": 1_400_000_000 + rng.integers(0, 10**8, 900),
        }
    )


def movies() -> pd.DataFrame:
    """Titles and genres of all movies."""
    number = np.arange(1, 41)
    genres = np.where(number % 2, "Comedy|Drama", "Action")
    return pd.DataFrame({"movie": number, "title": [f"Film, {k} é" for k in number], "genres": genres})


def text_ids() -> pd.DataFrame:
    """The ratings with ids as Amazon has them."""
    table = ratings()
    return table.assign(
        user="AX" + table.user.astype(str).str.zfill(8), movie="B0" + table.movie.astype(str).str.zfill(8)
    )


def digits_as_text() -> pd.DataFrame:
    """The ratings with ids that are text, although all are digits."""
    return ratings().astype({"user": str, "movie": str})


def days() -> pd.DataFrame:
    """The ratings with times of whole days."""
    return ratings().assign(time=ratings().time // 86400 * 86400)


def assert_same_bytes(first: Path, second: Path) -> None:
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) and "movie.npy" in names
    assert [name for name in names if not filecmp.cmp(first / name, second / name, shallow=False)] == []
