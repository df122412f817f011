"""Appending 100,000 ratings to MovieLens 20M's size, and updates with them, for ``benchmarks.living``."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import record
from benchmarks.train_default import ROOT

NEW = 100_000
#: Ratings of the days: the first update also exports the run that it begins with, and the last one fits interest anew,
#: which is due when 1 % of the training ratings are new. Both are measured apart.
DAYS = (1_000, NEW, NEW)
CONFIG = str(ROOT / "configs" / "ml20m_full.yaml")


def figures(ratings: Path, place: Path) -> dict:
    """Seconds and peak memory of commands as users run them, on all cores.

    Args:
        ratings: A directory of ``gnnrec synth``.
        place: A directory with room for the dataset, twice, and its generations.
    """
    _split(ratings, place)
    command = [sys.executable, "-m", "gnnrec"]
    base = ["--ratings", str(place / "base.parquet")]
    found = {"prepare": record.timed([*command, "prepare", str(place / "data"), *base])}
    train = ["train", "--config", CONFIG, "--data", str(place / "data"), "--run-dir", str(place / "run")]
    train += ["--baselines", "false", "--wandb.mode", "disabled", "--device", "cpu", "--validate-every", "0"]
    record.timed([*command, *train])
    update = [*command, "update", str(place / "run"), "--out", str(place / "live"), "--ratings"]
    found["first_update"] = record.timed([*update, str(place / "day-0.parquet")])
    update = [*command, "update", str(place / "live"), "--ratings"]
    found["update"] = record.timed([*update, str(place / "day-1.parquet")])
    found["update_with_interest"] = record.timed([*update, str(place / "day-2.parquet")])
    again = [*command, "prepare", str(place / "again")]
    record.timed([*again, *base])
    found["append"] = record.timed([*again, "--append", str(place / "day-1.parquet")])
    found["compact"] = record.timed([*again, "--compact"])
    return {"append_s": found["append"]["seconds"], "update_s": found["update"]["seconds"], "large": found}


def _split(ratings: Path, place: Path) -> None:
    """Writes all ratings but the newest to ``base.parquet``, and these to ``day-0.parquet`` and so on."""
    import pyarrow.csv as pa_csv

    table = pa_csv.read_csv(ratings / "ratings.csv").sort_by("timestamp")
    first = len(table) - sum(DAYS)
    pq.write_table(table.slice(0, first), place / "base.parquet")
    for day, size in enumerate(DAYS):
        pq.write_table(table.slice(first, size), place / f"day-{day}.parquet")
        first += size
