"""Measures the constants of ``gnnrec plan``: the cost of a unit of each kind of work on one core.

    python -m benchmarks.plan_constants --place DIR
    python -m benchmarks.plan_constants --again

A grid of small synthetic datasets is trained for a few steps each, on one rank of one thread, and the stages of a step
are timed separately. Constants are fitted to them by non-negative least squares on relative errors. All-reduces are
measured between two ranks. ``--again`` fits the measurements in ``results/plan_constants.json`` anew and measures
nothing. Both write that file, and the constants into the package (``gnnrec/tools/planning/constants.json``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from scipy.optimize import nnls

from benchmarks import record
from benchmarks.export_scale import write_data
from benchmarks.plan_runs import job_of, measure
from gnnrec.tools.planning.constants import PATH
from gnnrec.tools.planning.memory import FLOAT, memory_parts, total
from gnnrec.tools.planning.work import STAGES, work_of

#: Users, ratings per user, movies.
SHAPES = {
    "small": (5_000, 40, 1_000),
    "usual": (20_000, 40, 3_000),
    "sparse": (50_000, 20, 10_000),
    "dense": (10_000, 200, 3_000),
    "movies": (5_000, 100, 30_000),
    "large": (80_000, 40, 20_000),
}
_SAMPLED = "--loader.movies-per-user=10 --loader.raters-per-movie=10 --loader.seed-users="
#: Options of the runs on them.
GRID = [
    ("small", ""), ("small", "--model.layers=2"), ("usual", ""), ("usual", "--model.dim=32"),
    ("usual", "--model.dim=128"), ("usual", "--model.layers=2"), ("usual", "--model.architecture=gat"),
    ("usual", "--model.architecture=gcn"), ("usual", f"--model.layers=2 {_SAMPLED}5000"), ("sparse", ""),
    ("sparse", f"{_SAMPLED}15000"), ("dense", ""), ("dense", "--model.architecture=gat --model.dim=32"),
    ("dense", f"{_SAMPLED}5000 --model.layers=2"), ("movies", ""), ("movies", "--model.dim=128 --model.layers=2"),
    ("large", ""), ("large", f"{_SAMPLED}20000 --model.layers=2"),
]  # fmt: skip
#: Two ranks, to measure how much two processes on one machine slow each other down.
SHARED = [("usual", ""), ("dense", "")]
FOLDS = 4
_SIZES = (1 << 12, 1 << 16, 1 << 20, 1 << 23, 1 << 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, help="a directory with 1 GB for the data (default: a temporary one)")
    parser.add_argument("--again", action="store_true", help="fit the measurements of the result file again")
    options = parser.parse_args()
    path = record.RESULTS / "plan_constants.json"
    if options.again:
        found = json.loads(path.read_text())
    else:
        place = Path(tempfile.mkdtemp(dir=options.place))
        try:
            found = record.provenance() | measured(place)
        finally:
            shutil.rmtree(place)
    constants = fit(found["runs"], found["all_reduces"])
    about = {name: found[name] for name in ("commit", "date", "hardware")}
    PATH.write_text(json.dumps(about | constants, indent=1) + "\n", encoding="utf-8")
    kept = {name: value for name, value in found.items() if name not in ("command", "constants")}
    command = record.command("benchmarks.plan_constants")
    path.write_text(json.dumps({"command": command} | kept | {"constants": constants}, indent=1) + "\n")
    print(json.dumps(constants, indent=1))


def measured(place: Path) -> dict:
    """Measures runs of the grid, and all-reduces."""
    for name, (users, ratings, movies) in SHAPES.items():
        write_data(place / name, users, movies, ratings)
    runs = []
    for ranks, grid in ((1, GRID), (2, SHARED)):
        for shape, words in grid:
            options = [f"--loader.folds={FOLDS}", *words.split()]
            job = job_of(place / shape, options, ranks)
            channels = [FLOAT * job.model.dim * rows for rows in (job.batch_users, job.movies)]
            counts = {"work": work_of(job)}
            counts |= {"tensor_bytes": total(memory_parts(job, 0.0)), "channel_bytes": channels}
            about = {"shape": shape, "options": words, "ranks": ranks}
            runs.append(about | measure(place / shape, options, ranks) | counts)
            print(about, f"{runs[-1]['step']:.3f} s", flush=True)
    return {"runs": runs, "all_reduces": all_reduces()}


def fit(runs: list[dict], reduces: list[dict]) -> dict:
    """Fits constants to runs and all-reduces.

    Args:
        runs: From :func:`measured`; only ``sharing`` uses those on two ranks.
        reduces: Bytes and seconds.
    """
    alone = [run for run in runs if run["ranks"] == 1]
    seconds: dict[str, float] = {}
    for stage, names in STAGES.items():
        # A stage that is a small part of its step may have a large relative error.
        scale = np.array([max(run[stage], 0.1 * run["step"]) for run in alone])
        counts = np.array([[run["work"][name] for name in names] for run in alone]) / scale[:, None]
        size = np.maximum(counts.max(0), 1e-300)
        weights, _ = nnls(counts / size, np.array([run[stage] for run in alone]) / scale)
        seconds |= dict(zip(names, (weights / size).tolist()))

    def predicted(run: dict) -> float:
        return sum(seconds[name] * run["work"][name] for name in seconds)

    errors = [predicted(run) / run["step"] - 1 for run in alone]
    sharing = [(run["step"] - run["collectives"]) / predicted(run) for run in runs if run["ranks"] == 2]
    latency, of_bytes = _line(reduces)
    return {
        "seconds": seconds,
        "sharing": max(1.0, statistics.mean(sharing)),
        "all_reduce_latency": latency,
        "all_reduce_bytes_per_second": 1 / of_bytes,
        **_memory(alone),
        "largest": {name: max(run["work"][name] for run in alone) for name in seconds},
        "fit_error": max(map(abs, errors)),
        "mean_fit_error": statistics.mean(map(abs, errors)),
    }


def _memory(runs: list[dict]) -> dict[str, float]:
    """Fits the part of peaks that is not in counted tensors, on relative errors of the peak."""
    peaks = np.array([run["peak_bytes"] for run in runs])
    rows = np.array([[1e9, *run["channel_bytes"]] for run in runs]) / peaks[:, None]
    (base, users, movies), _ = nnls(rows, np.array([1 - run["tensor_bytes"] / run["peak_bytes"] for run in runs]))
    return {"base_bytes": base * 1e9, "user_moments": users, "movie_moments": movies}


def _line(reduces: list[dict]) -> tuple[float, float]:
    """Fits seconds of an all-reduce of two ranks, fixed and per byte, on relative errors."""
    rows = np.array([[1.0, each["bytes"]] for each in reduces])
    seconds = np.array([each["seconds"] for each in reduces])
    size = rows.max(0)
    weights, _ = nnls(rows / seconds[:, None] / size, np.ones(len(rows)))
    latency, of_bytes = weights / size
    return float(latency), float(of_bytes)


def all_reduces(rounds: int = 7) -> list[dict]:
    """Measures bytes and median seconds of all-reduces between two ranks on this machine."""
    with tempfile.TemporaryDirectory() as directory:
        torch.multiprocessing.spawn(_reduce, (directory, rounds), nprocs=2)
        return json.loads(Path(directory, "seconds.json").read_text())


def _reduce(rank: int, directory: str, rounds: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/store", rank=rank, world_size=2)
    rows = []
    for size in _SIZES:
        tensor, times = torch.zeros(size // 4), []
        for _ in range(rounds + 1):
            dist.barrier()
            started = time.perf_counter()
            dist.all_reduce(tensor)
            times.append(time.perf_counter() - started)
        rows.append({"bytes": size, "seconds": statistics.median(times[1:])})
    if rank == 0:
        Path(directory, "seconds.json").write_text(json.dumps(rows))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
