"""Recommends movies for all users, next to the package ``implicit``: both exact, without rated movies, on all cores.

    python -m benchmarks.recommend_speed --data DIR

``pip install implicit`` first. Vectors are random, of 64 dimensions for both, and ratings are those of a prepared
dataset of MovieLens 20M's size, so both do the same work. ``ours_s`` is from an export's files, ``implicit_s`` from
vectors in memory, to movies and scores in memory, taken in turns in one process; ``implicit`` is measured with all
users in one call and in calls of 1,000, and the faster one counts. ``command_s`` is all of ``gnnrec recommend EXPORT
--all``, with start-up and files, and ``user_s`` all of ``gnnrec recommend EXPORT --user ID``. Medians of some runs.
Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse
import torch
from threadpoolctl import threadpool_limits

from benchmarks import record
from gnnrec.data.prepared import PreparedDataset
from gnnrec.inference.export_directory import ExportDirectory, split_into_parts
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.list_order import list_order
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_all import BestMovies

TOP = 20
PART_ROWS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="prepared dataset")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small synthetic data and one run; writes no result")
    options = parser.parse_args()
    if (options.data is None) != options.quick:
        parser.error("pass --data, or --quick")
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as place:
        data = _small_data(Path(place)) if options.quick else options.data
        figures = measure(data, options.dim, 1 if options.quick else options.runs, threads, Path(place))
    print(json.dumps(figures, indent=1))
    if not options.quick:
        print(record.write("recommend_speed", "benchmarks.recommend_speed", figures))


def measure(data: Path, dim: int, runs: int, threads: int, place: Path) -> dict:
    """Measures all figures; ``place`` needs room for an export of 40 MB."""
    export = random_export(data, dim, place / "export")
    source = ExportVectors(export)
    dataset, users = source.catalog.dataset, source.block(range(source.num_users)).vectors
    best = BestMovies(source, None, TOP, torch.device("cpu"), list_order(source.scoring, None))
    implicit = _implicit(source, users, threads)
    contenders = {
        "ours": lambda: ours(best, dataset.num_users),
        "implicit_at_once": lambda: implicit(dataset.num_users),
        "implicit_by_1000": lambda: implicit(1000),
    }
    seconds = {name: [] for name in (*contenders, "command", "user")}
    gnnrec = [sys.executable, "-m", "gnnrec", "recommend", str(export)]
    user = str(source.catalog.users[dataset.num_users // 2])
    best.best(range(100))  # compiles
    movies = {}
    for turn in range(runs):
        for name, run in contenders.items():
            seconds[name].append(_seconds(lambda name=name, run=run: movies.update({name: run()})))
        out = place / f"out{turn}"
        seconds["command"].append(_seconds(_command([*gnnrec, "--all", "--top", str(TOP), "--out", str(out)], threads)))
        shutil.rmtree(out)
        seconds["user"].append(_seconds(_command([*gnnrec, "--user", user], threads)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "users": dataset.num_users,
        "movies": dataset.num_movies,
        "dim": dim,
        "top": TOP,
        "threads": threads,
        "ours_s": round(medians["ours"], 2),
        "implicit_s": round(min(medians["implicit_at_once"], medians["implicit_by_1000"]), 2),
        "command_s": round(medians["command"], 2),
        "user_s": round(medians["user"], 2),
        "same_movies": float((movies["ours"] == movies["implicit_at_once"]).mean().round(6)),
        "runs": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
    }


def ours(best: BestMovies, users: int) -> np.ndarray:
    """Movies of all users, int ``[users, top]``."""
    return np.concatenate([best.best(range(row, min(row + 10_000, users)))[1] for row in range(0, users, 10_000)])


def _implicit(source: ExportVectors, users: np.ndarray, threads: int):
    from implicit.cpu.als import AlternatingLeastSquares

    dataset = source.catalog.dataset
    model = AlternatingLeastSquares(factors=users.shape[1], num_threads=threads)
    model.user_factors, model.item_factors = users, source.scoring.movies
    ones = np.ones(dataset.num_ratings, np.float32)
    shape = dataset.num_users, dataset.num_movies
    rated = scipy.sparse.csr_matrix((ones, np.array(dataset.movie), dataset.user_ptr.astype(np.int32)), shape)

    def recommend(batch: int) -> np.ndarray:
        found = []
        with threadpool_limits(1, "blas"):  # the package has its own threads, and warns about others
            for first in range(0, dataset.num_users, batch):
                some = np.arange(first, min(first + batch, dataset.num_users))
                found.append(model.recommend(some, rated[some[0] : some[-1] + 1], N=TOP)[0])
        return np.concatenate(found)

    return recommend


def random_export(data: Path, dim: int, out: Path) -> Path:
    """An export of normal random vectors without biases, for the users and movies of a prepared dataset."""
    dataset, random = PreparedDataset(data), np.random.default_rng(0)
    catalog, directory = MovieCatalog(dataset), ExportDirectory(out)
    directory.open({"model": "random"}, overwrite=False)
    names = []
    for kind, ids in (("user", catalog.users), ("movie", catalog.movies)):
        for part in split_into_parts(f"{kind}s", len(ids), PART_ROWS):
            values = pa.array(random.standard_normal(len(part.rows) * dim, dtype=np.float32))
            columns = {
                kind: ids.slice(part.rows.start, len(part.rows)),
                "embedding": pa.FixedSizeListArray.from_arrays(values, dim),
                "bias": pa.array(np.zeros(len(part.rows), np.float32)),
            }
            directory.write(part.name, partial(pq.write_table, pa.table(columns)))
            names.append(part.name)
    about = {"objective": "ranking", "dim": dim, "dtype": "float32", "users": dataset.num_users}
    about |= {"movies": dataset.num_movies, "head": "dot", "offset": 0.0, "model_fingerprint": "random"}
    about |= {"dataset_fingerprint": dataset.fingerprint, "data": str(dataset.directory.resolve())}
    directory.finish(names, about)
    return out


def _small_data(place: Path) -> Path:
    gnnrec = [sys.executable, "-m", "gnnrec"]
    counts = ["--users", "600", "--movies", "300", "--ratings", "20000"]
    for command in (
        ["synth", str(place / "ratings"), *counts],
        ["prepare", str(place / "data"), "--ratings", str(place / "ratings/ratings.csv")],
    ):
        subprocess.run([*gnnrec, *command], check=True)
    return place / "data"


def _command(words: list[str], threads: int):
    environment = record.environment_with(OMP_NUM_THREADS=str(threads))
    return lambda: subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)


def _seconds(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
