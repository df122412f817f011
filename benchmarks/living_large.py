"""Appending 100,000 ratings to MovieLens 20M's size, and updates with them, for ``benchmarks.living``."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import record
from benchmarks.train_default import ROOT

NEW = 100_000
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
    # The first update also exports the run that it begins with. Both take 100,000 ratings.
    update = [*command, "update", str(place / "run"), "--out", str(place / "live"), "--ratings"]
    found["first_update"] = record.timed([*update, str(place / "day-0.parquet")])
    update = [*command, "update", str(place / "live"), "--ratings"]
    found["update"] = record.timed([*update, str(place / "day-1.parquet")])
    again = [*command, "prepare", str(place / "again")]
    record.timed([*again, *base])
    found["append"] = record.timed([*again, "--append", str(place / "day-0.parquet")])
    found["compact"] = record.timed([*again, "--compact"])
    return {"append_s": found["append"]["seconds"], "update_s": found["update"]["seconds"], "large": found}


def _split(ratings: Path, place: Path) -> None:
    """Writes all ratings but the newest to ``base.parquet``, and these to ``day-0.parquet`` and ``day-1.parquet``."""
    import pyarrow.csv as pa_csv

    table = pa_csv.read_csv(ratings / "ratings.csv").sort_by("timestamp")
    first = len(table) - 2 * NEW
    pq.write_table(table.slice(0, first), place / "base.parquet")
    for day in range(2):
        pq.write_table(table.slice(first + day * NEW, NEW), place / f"day-{day}.parquet")
