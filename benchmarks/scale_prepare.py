"""Measures ``gnnrec prepare`` of more ratings than fit into memory, under a limit that the system enforces.

    python -m benchmarks.large_ratings --directory RATINGS --ratings 200000000
    python -m benchmarks.scale_prepare --ratings RATINGS --out PREPARED --limit 2

A control group limits the whole process, its files in the system's cache included; this needs root. Without control
groups ``ulimit -d`` limits the memory of the process itself. Everything is counted, start-up and checksums of input
and output too. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import record

_GROUP = "gnnrec_benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, required=True, help="directory with ratings files")
    parser.add_argument("--out", type=Path, required=True, help="the prepared dataset; 40 bytes per rating meanwhile")
    parser.add_argument("--limit", type=float, default=2.0, help="memory limit in gigabytes")
    options = parser.parse_args()
    command = [sys.executable, "-m", "gnnrec", "prepare", str(options.out), "--ratings", str(options.ratings)]
    command += ["--engine", "stream", "--memory", str(options.limit), "--overwrite"]
    limit = int(options.limit * 1e9)
    group = _make_group(limit)

    def enter() -> None:
        if group is None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        else:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    started = time.perf_counter()
    try:
        environment = record.environment_with(OMP_NUM_THREADS="1")
        subprocess.run(command, check=True, preexec_fn=enter, env=environment)
    finally:
        if group is not None:
            group.rmdir()
    seconds = time.perf_counter() - started
    ratings = json.loads((options.out / "manifest.json").read_text())["counts"]
    rows = ratings["ratings"] + ratings["duplicates_dropped"]
    files = [path.stat().st_size for path in options.ratings.iterdir()]
    figures = {
        "rows": rows,
        "files": len(files),
        "input_gb": sum(files) / 1e9,
        "limit_gb": options.limit,
        "limited_by": "ulimit -d" if group is None else "control group, file cache included",
        "seconds": seconds,
        "prepare_ratings_per_s": rows / seconds,
        "prepare_peak_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9,
    }
    print(json.dumps(figures, indent=1))
    print(record.write("scale_prepare", "benchmarks.scale_prepare", figures))


def _make_group(limit: int) -> Path | None:
    """Makes a control group with this memory, of version 2 or 1; None if that is impossible."""
    for parent, name in (
        (Path("/sys/fs/cgroup"), "memory.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ):
        group = parent / _GROUP
        try:
            group.mkdir(exist_ok=True)
            if (group / name).exists():
                (group / name).write_text(str(limit))
                return group
            group.rmdir()
        except OSError:
            continue
    return None


if __name__ == "__main__":
    main()
