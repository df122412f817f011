"""Generations of a growing dataset: updates next to full retraining, their speed, and what killing them does.

    python -m benchmarks.living --ratings ml-latest-small --large-ratings RATINGS

Parts, each written to ``living.json`` when it is measured:

- ``small``: ratings in the order of their times; the first ones are trained on, the others come in 30 increments. Each
  generation is trained on the same data from the beginning too, with the same options.
- ``synthetic``: the same with 2 million synthetic ratings, whose later times have other movies.
- ``large``: ratings of MovieLens 20M's size, of which the last 100,000 are appended: seconds and memory of appending,
  and of a whole update, start-up included.
- ``kills``: an update is killed at random moments until it ends, next to one that is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import living_kills, living_large, record
from benchmarks.train_default import trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.synth import SynthOptions, synth
from gnnrec.distributed.world import World
from gnnrec.tools.updating.drift import errors_on_test
from gnnrec.tools.updating.options import UpdateOptions
from gnnrec.tools.updating.update import update

PARTS = ["small", "synthetic", "large", "kills"]
#: Share of the ratings that the first generation is trained on.
FIRST = 0.7
#: What a kept row may lose is part of the gap, so errors are those of exports.
NDCG = "test_ndcg@20"


def write_days(ratings: Path, place: Path, days: int) -> None:
    """Writes the first ratings to ``base.csv``, and the later ones, by time, to ``day-00.csv`` and so on."""
    table = pd.read_csv(ratings / "ratings.csv").sort_values("timestamp", kind="stable")
    first = int(FIRST * len(table))
    table[:first].to_csv(place / "base.csv", index=False)
    for day, rows in enumerate(np.array_split(np.arange(first, len(table)), days)):
        table.iloc[rows].to_csv(place / f"day-{day:02d}.csv", index=False)


def generations(ratings: Path, days: int, every: int, place: Path, words: list[str]) -> list[dict]:
    """Figures of all generations; ``every`` so many of them are trained from the beginning too."""
    write_days(ratings, place, days)
    movies = ratings / "movies.csv"
    prepare(place / "data", PrepareOptions(ratings=place / "base.csv", movies=movies))
    trained(place / "data", place / "run", "--baselines", "false", *words)
    live, found = place / "live", []
    for day in range(days):
        options = UpdateOptions(ratings=[str(place / f"day-{day:02d}.csv")], out=live, movies=movies)
        path = update(place / "run" if day == 0 else live, options, World())
        facts = json.loads((path / "generation.json").read_text())
        summary = json.loads((path / "run" / "summary.json").read_text())
        row = {
            "ratings": facts["new_ratings"]["ratings"],
            "new_ratings": facts["new_ratings"],
            "new_movies": facts["changed"]["movies"]["new"],
            "new_users": facts["changed"]["users"]["new"],
            "rmse": errors_on_test([path / "export"], PreparedDataset(place / "data"))[0],
            "ndcg": summary["lists"][NDCG],
            "steps": summary["steps"],
            "seconds": _seconds(summary),
            "cosine": {kind: facts["changed"][kind]["mean_cosine"] for kind in ("users", "movies")},
            "changed": {kind: facts["changed"][kind]["changed"] for kind in ("users", "movies")},
        }
        if day % every == every - 1:
            full = trained(place / "data", place / f"full-{day}", "--baselines", "false", *words)
            row |= {
                "full_rmse": full["test_rmse_without_time"],
                "full_ndcg": full["lists"][NDCG],
                "full_steps": full["steps"],
                "full_seconds": _seconds(full),
            }
        print(day, json.dumps(row), flush=True)
        found.append(row)
    return found


def _seconds(summary: dict) -> float:
    """Seconds of training, without start-up, validation of the end, and interest."""
    return sum(summary["seconds"][name] for name in ("sampling", "compute", "communication"))


def figures(found: list[dict]) -> dict:
    """Gaps to full retraining: positive where updates are worse."""
    both = [row for row in found if "full_rmse" in row]
    rmse = [row["rmse"] - row["full_rmse"] for row in both]
    ndcg = [1 - row["ndcg"] / row["full_ndcg"] for row in both]
    return {
        "generations": len(found),
        "mean_rmse_gap": float(np.mean(rmse)),
        "worst_rmse_gap": float(np.max(rmse)),
        "mean_ndcg_gap": float(np.mean(ndcg)),
        "worst_ndcg_gap": float(np.max(ndcg)),
        "step_ratio": float(np.mean([row["steps"] / row["full_steps"] for row in both])),
        "time_ratio": float(np.mean([row["seconds"] / row["full_seconds"] for row in both])),
        "min_cosine": min(row["cosine"]["users"] for row in found),
    }


def measure(part: str, options: argparse.Namespace, place: Path) -> dict:
    """Figures of one part."""
    if part == "small":
        found = generations(options.ratings, options.days, 1, place, [])
        return figures(found) | {"small": found}
    if part == "synthetic":
        synth(place / "synth", SynthOptions(users=14_000, movies=6_000, ratings=2_000_000, drift=0.3))
        found = generations(place / "synth", options.days, 6, place, [])
        return {f"synthetic_{name}": value for name, value in figures(found).items()} | {"synthetic": found}
    if part == "large":
        return living_large.figures(options.large_ratings, place)
    return living_kills.figures(options.kills, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, help="directory with ratings.csv and movies.csv")
    parser.add_argument("--large-ratings", type=Path, help="ratings of MovieLens 20M's size, from gnnrec synth")
    parser.add_argument("--days", type=int, default=30, help="increments")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="parts to measure, by default all")
    options = parser.parse_args()
    if "small" in options.parts and options.ratings is None:
        parser.error("--ratings is missing")
    if "large" in options.parts and options.large_ratings is None:
        parser.error("--large-ratings is missing")
    for part in options.parts:
        with tempfile.TemporaryDirectory() as place:
            print(record.add("living", part, "benchmarks.living", measure(part, options, Path(place))), flush=True)


if __name__ == "__main__":
    main()
