"""Cost of features at MovieLens 20M's size, for ``benchmarks.features``: seconds of steps and of ``gnnrec prepare``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import record
from benchmarks.train_run import train_run
from gnnrec.data.prepared import PreparedDataset

#: Steps of a run, and the last ones, which count: as many as an epoch has.
STEPS, COUNTED = 25, 20
TEXT_DIMENSIONS, USER_NUMBERS = 384, 20
#: Columns that the text has in a prepared dataset, and channels of ``ml20m_full``.
REDUCED, DIM = 64, 64


def figures(data: Path, ratings: Path, rounds: int, place: Path) -> dict:
    """Shares of time that features add to a step of ``ml20m_full`` and to preparation, in alternating rounds.

    Args:
        data: A prepared dataset of MovieLens 20M's size without features.
        ratings: Its ratings.
        rounds: Rounds; each prepares and trains with and without features.
        place: A directory with room for two prepared datasets.
    """
    tables = write_tables(PreparedDataset(data), place)
    seconds: dict[str, list[float]] = {name: [] for name in ("prepare", "prepare_features", "step", "step_features")}
    for _ in range(rounds):
        for suffix, words in (("", []), ("_features", tables)):
            out = place / f"data{suffix}"
            command = [sys.executable, "-m", "gnnrec", "prepare", str(out), "--ratings", str(ratings), "--overwrite"]
            started = time.perf_counter()
            subprocess.run([*command, *words], check=True, capture_output=True, env=record.environment_with())
            seconds[f"prepare{suffix}"].append(time.perf_counter() - started)
            records, _ = train_run(out, "ml20m_full", 1, f"--max-steps={STEPS}", "--log-every=1")
            seconds[f"step{suffix}"].append(statistics.median(line["step_seconds"] for line in records[-COUNTED:]))
        print(seconds, flush=True)
    return {
        "step_cost": share(seconds["step_features"], seconds["step"]),
        "prepare_cost": share(seconds["prepare_features"], seconds["prepare"]),
        "of_cost": seconds,
    }


def bound(data: Path, before: dict) -> dict:
    """The share of a step that the products alone take, next to the step of an earlier result of :func:`figures`."""
    return {"step_cost_bound": products_alone(data) / statistics.median(before["of_cost"]["step"])}


def products_alone(data: Path) -> float:
    """Seconds of the matrix products that features need in a step, and of nothing else: the least that they can cost.

    Each table of users and of movies gets its rows plus features times weights, and the weights get the features times
    the gradients of all rows, on one thread.
    """
    dataset = PreparedDataset(data)
    torch.set_num_threads(1)
    tables = []
    for nodes, columns in ((dataset.num_users, USER_NUMBERS), (dataset.num_movies, REDUCED)):
        x = torch.randn(nodes, columns)
        for width in (DIM, DIM, DIM, 1):
            tables.append((x, torch.randn(nodes, width), torch.randn(columns, width)))
    out = [torch.empty_like(rows) for _, rows, _ in tables]
    times = []
    for _ in range(9):
        started = time.perf_counter()
        for (x, rows, weights), result in zip(tables, out, strict=True):
            torch.addmm(rows, x, weights, out=result)
            x.T @ rows
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def share(with_features: list[float], without: list[float]) -> float:
    """Median of what features add in each round, as a share."""
    return statistics.median(one / other - 1 for one, other in zip(with_features, without, strict=True))


def write_tables(dataset: PreparedDataset, place: Path) -> list[str]:
    """Writes a vector of text for each movie and numbers for each user; returns the options of ``gnnrec prepare``."""
    rng = np.random.default_rng(0)
    movies = dataset.movies["movie"].to_numpy()
    np.save(place / "text.npy", rng.normal(size=(len(movies), TEXT_DIMENSIONS)).astype(np.float32))
    np.save(place / "text_ids.npy", movies)
    users = pd.DataFrame(rng.normal(size=(dataset.num_users, USER_NUMBERS)).astype(np.float32))
    users = users.rename(columns=lambda column: f"number{column}")
    users.insert(0, "userId", dataset.users["user"].to_numpy())
    users.to_parquet(place / "users.parquet")
    return ["--movie-features", str(place / "text.npy"), "--user-features", str(place / "users.parquet")]
