"""Compares reducing the sums of all movies and of active ones, from ten thousand movies to a million.

    python -m benchmarks.many_movies --movies 10000 100000 1000000

Two ranks of one thread, the same number of ratings spread over more and more movies, sampled mini-batches of users, one
layer. For ``--loader.movie-rows`` all and active: seconds per step, and MiB per step that a rank passes to collectives.
The gradients of the movie tables are reduced whole in both: ``gradient_mib`` of the MiB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.even_ratings import write_even_ratings

ROOT = Path(__file__).parents[1]
RATINGS_A_USER, STEPS, SKIPPED = 50, 8, 2


def run_one(directory: Path, rows: str, dim: int) -> dict[str, float]:
    """Medians over the steps of a short run, without the first ones."""
    run = directory / f"run-{rows}"
    command = record.torchrun(2)
    command += [str(ROOT / "train_dist.py"), "--data", str(directory / "prepared"), "--run-dir", str(run)]
    command += ["--max-steps", str(STEPS), "--log-every", "1", "--validate-every", "0", "--baselines", "false"]
    command += ["--interest.enabled", "false"]
    command += ["--wandb.mode", "disabled", "--device", "cpu", "--model.dim", str(dim), "--model.time", "false"]
    command += ["--loader.seed-users", "1000", "--loader.movies-per-user", "20", "--loader.raters-per-movie", "10"]
    command += ["--loader.control-variate", "false", "--loader.folds", "5", "--loader.movie-rows", rows]
    subprocess.run(command, check=True, capture_output=True, env=record.environment_with(OMP_NUM_THREADS="1"))
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [line for line in lines if "step_seconds" in line][SKIPPED:]
    names = ("step_seconds", "collective_seconds", "collective_mib")
    return {name: statistics.median(step[name] for step in steps) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--movies", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--ratings", type=int, default=1_500_000)
    parser.add_argument("--dim", type=int, default=32)
    arguments = parser.parse_args()
    found = []
    for movies in arguments.movies:
        with tempfile.TemporaryDirectory() as directory:
            rated = write_even_ratings(Path(directory), arguments.ratings // RATINGS_A_USER, movies, RATINGS_A_USER)
            row: dict = {"movies": rated, "gradient_mib": rated * (3 * arguments.dim + 1) * 4 / 2**20}
            row |= {rows: run_one(Path(directory), rows, arguments.dim) for rows in ("all", "active")}
        found.append(row)
        print(row, flush=True)
    figures = {"ranks": 2, "ratings": arguments.ratings, "dim": arguments.dim, "rows": found}
    print(record.write("many_movies", "benchmarks.many_movies", figures))


if __name__ == "__main__":
    main()
