"""Writes sparse ratings made of a dense dataset, for ``benchmarks.quality``.

    python -m benchmarks.sparse_ratings --ratings RATINGS_DIRECTORY --out OUT
    gnnrec prepare OUT/light_users --ratings OUT/light_users_csv --test 0.35

Two sets are written, with the movies file of the dense one:

- ``few_ratings_csv``: 20,000 ratings, drawn at random.
- ``light_users_csv``: the ratings of a user, in random order, are cut into users of at most 14 ratings; 3,000 of these
  users are drawn. That is about as many ratings, and of as many users, as in the Flixster set of Monti et al. (2017).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", required=True, type=Path, help="directory with ratings.csv and movies.csv")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    ratings = pd.read_csv(options.ratings / "ratings.csv")
    for name, table in (("few_ratings", few_ratings(ratings)), ("light_users", light_users(ratings))):
        directory = options.out / f"{name}_csv"
        directory.mkdir(parents=True)
        table.to_csv(directory / "ratings.csv", index=False)
        shutil.copy(options.ratings / "movies.csv", directory)
        print(f"{directory}: {len(table):,} ratings of {table['userId'].nunique():,} users")


def few_ratings(ratings: pd.DataFrame, count: int = 20_000) -> pd.DataFrame:
    """Ratings drawn at random."""
    return ratings.sample(count, random_state=2).sort_index()


def light_users(ratings: pd.DataFrame, most: int = 14, users: int = 3000) -> pd.DataFrame:
    """Users made of at most ``most`` ratings of one user."""
    shuffled = ratings.sample(frac=1, random_state=5)
    part = shuffled.groupby("userId").cumcount() // most
    shuffled["userId"] = shuffled["userId"] * 1000 + part
    drawn = shuffled["userId"].drop_duplicates().sample(users, random_state=6)
    return shuffled[shuffled["userId"].isin(drawn)]


if __name__ == "__main__":
    main()
