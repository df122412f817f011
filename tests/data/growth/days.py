"""Days of ratings, and a dataset to which they are appended beside one that is prepared from all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data.growth.append import append
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset


def table_of_days(seed: int = 0) -> list[pd.DataFrame]:
    """Ratings of three days: later ones have new users and movies, and change ratings of the days before."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(44 * 34)[:760]
    table = pd.DataFrame({"user": pairs // 34 * 7 + 3, "movie": pairs % 34 * 11 + 5, "rating": 0.0, "timestamp": 0})
    new = (table["user"] > 40 * 7) | (table["movie"] > 30 * 11)
    first = table[~new].iloc[:500]
    rest = table.drop(first.index).sample(frac=1, random_state=1)
    days = [first, rest[: len(rest) // 2], rest[len(rest) // 2 :]]
    changed = [first.sample(30, random_state=2), pd.concat([first, days[1]]).sample(40, random_state=3)]
    days = [days[0], pd.concat([days[1], changed[0]]), pd.concat([days[2], changed[1], changed[1][:5]])]
    for number, day in enumerate(days):
        day["rating"] = rng.integers(1, 11, len(day)) / 2
        day["timestamp"] = 964982703 + number * 86400 + rng.integers(0, 90_000, len(day))
    days[0].iloc[:2, 2] = [0.5, 5]
    return days


def write_days(days: list[pd.DataFrame], place: Path) -> list[Path]:
    """Writes each day as a CSV file."""
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"day{number}.csv" for number in range(len(days))]
    for path, day in zip(paths, days):
        day.to_csv(path, index=False)
    return paths


def grown_and_fresh(days: list[pd.DataFrame], place: Path, **options) -> tuple[PreparedDataset, PreparedDataset]:
    """A dataset of the first day to which the others are appended, and one of all days."""
    paths = write_days(days, place / "days")
    prepare(place / "grown", PrepareOptions(ratings=paths[0], **options))
    columns = {"split_column": options["split_column"]} if "split_column" in options else {}
    for path in paths[1:]:
        append(place / "grown", AppendOptions(append=[str(path)], **columns))
    prepare(place / "fresh", PrepareOptions(ratings=place / "days", **options))
    return PreparedDataset(place / "grown", verify=True), PreparedDataset(place / "fresh", verify=True)


def raw_ratings(dataset: PreparedDataset) -> pd.DataFrame:
    """All ratings with raw ids, in the order of the ids."""
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    columns = {
        "user": dataset.users["user"].to_numpy()[user],
        "movie": dataset.movies["movie"].to_numpy()[dataset.movie],
        "rating": np.asarray(dataset.rating),
        "split": np.asarray(dataset.split),
    }
    if dataset.timestamp is not None:
        columns["timestamp"] = np.asarray(dataset.timestamp)
    return pd.DataFrame(columns).sort_values(["user", "movie"], ignore_index=True)
