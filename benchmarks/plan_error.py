"""Error of ``gnnrec plan`` on runs that its constants were not fitted to.

    python -m benchmarks.plan_error --place DIR --data PREPARED
    python -m benchmarks.plan_error --quick

Other sizes, other models and two ranks, on synthetic data, and with ``--data`` a dataset of MovieLens 20M's size on one
rank and on two. For each run: predicted and measured seconds per step, peak memory of a rank in training, and bytes
that a rank passes to collectives per step. ``plan_error`` is the worst relative error of all; it is also written into
the package, and ``gnnrec plan`` prints it. ``--quick`` does one tiny run and writes no file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.export_scale import write_data
from benchmarks.plan_runs import job_of, measure
from gnnrec.tools.planning.constants import PATH, constants
from gnnrec.tools.planning.estimate import Estimate, deployment_of, estimate
from gnnrec.tools.planning.options import PlanOptions

#: Users, ratings per user, movies. None of them is among those of ``plan_constants``.
SHAPES = {"middle": (30_000, 60, 5_000), "wide": (12_000, 80, 16_000), "long": (120_000, 25, 8_000)}
_DRAW = "--loader.movies-per-user=15 --loader.raters-per-movie=12"
#: Shape, options of training, ranks.
RUNS = [
    ("middle", "--loader.folds=5", 1), ("middle", "--loader.folds=5", 2),
    ("middle", "--loader.folds=5 --model.dim=96 --model.layers=2", 1),
    ("middle", "--loader.folds=5 --model.architecture=gat", 1), ("wide", "--loader.folds=8", 1),
    ("wide", "--loader.folds=5 --model.architecture=gcn --model.dim=32", 2),
    ("long", "--loader.folds=3", 1), ("long", f"--loader.folds=3 --loader.seed-users=40000 {_DRAW}", 1),
]  # fmt: skip
QUICK = {"tiny": (1_000, 20, 300)}
_LARGE = "--config=configs/ml20m_full.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, help="a directory with 0.3 GB for the data (default: a temporary one)")
    parser.add_argument("--data", type=Path, help="a prepared dataset of MovieLens 20M's size to check too")
    parser.add_argument("--quick", action="store_true", help="do one tiny run and write no result file")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(dir=options.place))
    try:
        shapes, runs = (QUICK, [("tiny", "--loader.folds=2", 1)]) if options.quick else (SHAPES, RUNS)
        for name, (users, ratings, movies) in shapes.items():
            write_data(place / name, users, movies, ratings)
        rows = [compare(shape, place / shape, words, ranks) for shape, words, ranks in runs]
        if options.data:
            rows += [compare("20M", options.data, _LARGE, ranks, epochs=1) for ranks in (1, 2)]
    finally:
        shutil.rmtree(place)
    found = worst(rows)
    print(json.dumps(found, indent=1))
    if options.quick:
        return
    text = json.loads(PATH.read_text(encoding="utf-8"))
    text |= {"check_error": found["worst"]["step_seconds"], "memory_error": found["worst"]["peak_bytes"]}
    PATH.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    fitted = {"constants_commit": constants().commit, "constants_hardware": constants().hardware}
    print(record.write("plan", "benchmarks.plan_error", fitted | found | {"runs": rows}))


def compare(name: str, data: Path, words: str, ranks: int, epochs: int = 8) -> dict:
    """Predicts and measures one run, and returns both with relative errors."""
    job = job_of(data, words.split(), ranks)
    found = measure(data, words.split(), ranks, epochs)
    predicted = _predicted(estimate(job, deployment_of(PlanOptions(gpus=ranks, memory=1e6))))
    names = {"step_seconds": "step", "peak_bytes": "peak_bytes", "collective_bytes": "bytes"}
    row: dict = {"data": name, "options": words, "ranks": ranks}
    for quantity, key in names.items():
        error = predicted[quantity] / found[key] - 1 if found[key] else float(predicted[quantity] > 0)
        row[quantity] = {"predicted": predicted[quantity], "measured": found[key], "error": error}
    row["stages"] = {key: {"predicted": predicted[key], "measured": found[key]} for key in ("batch", "learn", "update")}
    row["stages"]["collectives"] = {"predicted": predicted["collectives"], "measured": found["collectives"]}
    print(name, words, ranks, {key: f"{row[key]['error']:+.1%}" for key in names}, flush=True)
    return row


def _predicted(found: Estimate) -> dict[str, float]:
    names = {
        "making the batch": "batch",
        "forward and backward": "learn",
        "update": "update",
        "collectives": "collectives",
    }
    stages = {"collectives": 0.0} | {names[share.name]: share.seconds for share in found.time}
    whole = {"step_seconds": found.step_seconds, "peak_bytes": found.device_bytes}
    return whole | {"collective_bytes": found.bytes_a_step} | stages


def worst(rows: list[dict]) -> dict:
    """Worst relative error of each quantity, and of all."""
    names = ("step_seconds", "peak_bytes", "collective_bytes")
    by_quantity = {name: max(abs(row[name]["error"]) for row in rows) for name in names}
    return {"plan_error": max(by_quantity.values()), "worst": by_quantity}


if __name__ == "__main__":
    main()
