"""Writes ratings that are larger than memory: any number of CSV files, with rows in random order over all of them.

    python -m benchmarks.large_ratings --directory DIR --ratings 200000000

MovieLens 20M's mean of 144 ratings a user and a long tail of movies; about 26 bytes a row. Ratings are
random: these files are for speed and memory, not for quality.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

RATINGS_A_USER, MOVIES, ROWS_A_FILE, BLOCK = 144, 26_744, 10_000_000, 1_000_000


def write_file(directory: Path, number: int, rows: int, users: int) -> None:
    """Writes one file, a function of its number; it is complete or absent."""
    path = directory / f"part-{number:04d}.csv"
    if path.exists():
        return
    rng = np.random.default_rng(number)
    aside = path.with_suffix(".tmp")
    names = ["userId", "movieId", "rating", "timestamp"]
    schema = pa.schema(dict(zip(names, (pa.int64(), pa.int64(), pa.float64(), pa.int64()))))
    with pa_csv.CSVWriter(str(aside), schema, write_options=pa_csv.WriteOptions(quoting_style="none")) as writer:
        for first in range(0, rows, BLOCK):
            count = min(BLOCK, rows - first)
            user = rng.integers(1, users + 1, count)
            movie = 1 + (MOVIES * rng.random(count) ** 2.2).astype(np.int64)
            rating = rng.integers(1, 11, count) / 2
            writer.write(pa.table([user, movie, rating, rng.integers(10**9, 14 * 10**8, count)], schema))
    os.replace(aside, path)


def write_files(directory: Path, ratings: int) -> None:
    """Writes all files, with ``ratings`` rows together."""
    directory.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-ratings // ROWS_A_FILE))
    rows = [min(ROWS_A_FILE, ratings - number * ROWS_A_FILE) for number in numbers]
    with ProcessPoolExecutor(2) as pool:
        users = [ratings // RATINGS_A_USER] * len(rows)
        list(pool.map(write_file, [directory] * len(rows), numbers, rows, users))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="directory; 26 GB per billion ratings")
    parser.add_argument("--ratings", type=int, default=200_000_000)
    options = parser.parse_args()
    write_files(options.directory, options.ratings)
    print(f"{options.directory}: {sum(path.stat().st_size for path in options.directory.glob('*.csv')) / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
