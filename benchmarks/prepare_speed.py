"""Measures ``gnnrec prepare`` of a ratings file of MovieLens 20M's size, on all cores: medians of seconds and memory.

    python -m benchmarks.prepare_speed --directory DIR

Every run is a separate process, timed from outside with start-up included. The synthetic ratings are made first and
are not timed; from the second run on at the latest they are in the system's file cache. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="directory for the data; needs 2 GB")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    gnnrec = [sys.executable, "-m", "gnnrec"]
    ratings, data = options.directory / "ratings", options.directory / "prepared"
    if not ratings.exists():
        record.timed([*gnnrec, "synth", str(ratings)])
    command = [*gnnrec, "prepare", str(data), "--ratings", str(ratings), "--overwrite"]
    runs = [_alone(command) for _ in range(options.runs)]
    figures = {name: statistics.median(run[name] for run in runs) for name in ("seconds", "peak_gb")}
    figures["ratings"] = json.loads((data / "manifest.json").read_text())["counts"]["ratings"]
    print(record.write("prepare_speed", "benchmarks.prepare_speed", figures | {"runs": runs}))


def _alone(command: list[str]) -> dict[str, float]:
    """Calls :func:`benchmarks.record.timed` in a separate process, so that peaks of runs do not mix."""
    # OMP_NUM_THREADS is pyarrow's number of threads too.
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(record.timed, command, OMP_NUM_THREADS=str(cores)).result()


if __name__ == "__main__":
    main()
