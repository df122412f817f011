"""`gnnrec synth`: MovieLens-like ratings drawn from a true model, so that the best possible RMSE is known.

:mod:`gnnrec.data.synth_model` explains the model and the floor, :mod:`gnnrec.data.synth_pairs` the choice of movies.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from gnnrec.data.blocks import blocks
from gnnrec.data.synth_model import Synthetic, SynthOptions, generate
from gnnrec.errors import UserError
from gnnrec.utils.bounds import check_bounds
from gnnrec.utils.files import complete_directory

__all__ = ["SynthOptions", "check", "synth"]


def synth(out: Path, options: SynthOptions) -> dict:
    """Writes a directory in MovieLens layout: `ratings.csv`, `movies.csv` and `floor.json`.

    Args:
        out: Output directory.
        options: Size and parameters of the true model.

    Returns:
        Contents of `floor.json`: `floor` (errors of the true model, see :mod:`gnnrec.data.synth_model`), `ratings`
        (statistics) and `options`.
    """
    check(options)
    progress = sys.stderr.isatty()
    with complete_directory(Path(out), options.overwrite, "floor.json") as directory:
        data = generate(options, progress)
        report = {"floor": data.floor(), "ratings": _statistics(data, options), "options": asdict(options)}
        del report["options"]["overwrite"]
        try:
            data.catalog.write(directory / "movies.csv")
            _write_ratings(directory / "ratings.csv", data, progress)
            (directory / "floor.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{out}: cannot write there ({error}): make room or choose another directory") from error
    ratings, floor = report["ratings"], report["floor"]
    print(
        f"{out}: {options.ratings:,} ratings of {options.users:,} users and {ratings['rated_movies']:,} movies; "
        f"mean {ratings['mean']:.3f}, standard deviation {ratings['std']:.3f}; "
        f"no model can beat RMSE {floor['rmse']:.4f}, MAE {floor['mae']:.4f}"
    )
    return report


def check(options: SynthOptions) -> None:
    """Refuses options that cannot be generated, before any work."""
    check_bounds(options)
    users, movies, ratings = options.users, options.movies, options.ratings
    if movies > 2**31 // (2 * 5) or users > 2**31 - 1:
        raise UserError(f"--users {users} --movies {movies}: ids must fit in 32 bits: lower --users or --movies")
    if ratings > users * movies:
        raise UserError(
            f"--ratings {ratings}: {users} users and {movies} movies make {users * movies} pairs: "
            "lower --ratings or raise --users or --movies"
        )
    if ratings < users:
        raise UserError(
            f"--ratings {ratings}: {users} users need at least one rating each: lower --users or raise --ratings "
            f"(MovieLens has at least 20 per user, which is {20 * users} here)"
        )


def _write_ratings(path: Path, data: Synthetic, progress: bool) -> None:
    names = pa.array([f"{half / 2:.1f}" for half in range(11)])
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    bar = tqdm(total=data.stars.size, desc="synth: ratings.csv", unit="row", disable=not progress, leave=False)
    with open(path, "wb") as file, bar:
        file.write(b"userId,movieId,rating,timestamp\n")
        for rows in blocks(data.stars.size):
            columns = {
                "userId": data.user[rows] + 1,
                "movieId": data.catalog.ids[data.movie[rows]],
                "rating": names.take(pa.array(data.stars[rows])),
                "timestamp": data.time[rows],
            }
            pyarrow.csv.write_csv(pa.table(columns), file, options)
            bar.update(rows.stop - rows.start)


def _statistics(data: Synthetic, options: SynthOptions) -> dict:
    by_stars = np.bincount(data.stars, minlength=11)[1:]
    by_movie = np.bincount(data.movie, minlength=options.movies)
    shares = by_stars / by_stars.sum()
    values = np.arange(1, 11) / 2
    mean = float(shares @ values)
    return {
        "users": options.users,
        "rated_movies": int((by_movie > 0).sum()),
        "ratings": options.ratings,
        "mean": mean,
        "std": float((shares @ (values - mean) ** 2) ** 0.5),
        "least_per_user": int(np.bincount(data.user).min()),
        "most_per_movie": int(by_movie.max()),
        "median_per_movie": float(np.median(by_movie)),
    }
