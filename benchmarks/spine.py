"""Measures the whole path at MovieLens 20M's size: prepare, an epoch on two ranks, export of all users on two ranks.

    python -m benchmarks.spine --directory DIR

Every stage is a separate process, timed from outside with start-up included. The synthetic ratings are made first
and are not timed. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks import record

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="directory for data and runs; needs 3 GB")
    parser.add_argument("--configs", nargs="+", default=["ml20m_sage", "ml20m_gcn", "ml20m_gat", "ml20m_full"])
    parser.add_argument("--ranks", type=int, default=2)
    options = parser.parse_args()
    python, ratings, data = sys.executable, options.directory / "ratings", options.directory / "prepared"
    if not ratings.exists():
        _alone([python, "-m", "gnnrec", "synth", str(ratings)])
    figures: dict = {"ranks": options.ranks}
    figures["prepare"] = _alone(
        [python, "-m", "gnnrec", "prepare", str(data), "--ratings", str(ratings), "--overwrite"]
    )
    torchrun = record.torchrun(options.ranks)
    for config in options.configs:
        run, out = options.directory / f"run-{config}", options.directory / f"export-{config}"
        train = [str(ROOT / "train_dist.py"), "--config", str(ROOT / "configs" / f"{config}.yaml")]
        train += ["--data", str(data), "--run-dir", str(run), "--overwrite", "--optimizer.epochs", "1"]
        train += ["--wandb.mode", "disabled", "--baselines", "false", "--interest.enabled", "false"]
        shutil.rmtree(out, ignore_errors=True)
        row = {"train_one_epoch": _alone(torchrun + train)}
        summary = json.loads((run / "summary.json").read_text())
        row["epoch_seconds"] = round(summary["training_seconds"], 1)
        row["edges_per_second"] = round(summary["edges_per_second"])
        row["peak_gib_a_rank"] = round(summary["peak_memory_gib"], 2)
        row["export"] = _alone(torchrun + ["-m", "gnnrec.export", str(run), "--out", str(out)])
        manifest = json.loads((out / "manifest.json").read_text())
        row["exported"] = {"users": manifest["users"], "movies": manifest["movies"]}
        figures[config] = row
    print(record.write("spine", "benchmarks.spine", figures))


def _alone(command: list[str]) -> dict[str, float]:
    """Calls :func:`benchmarks.record.timed` in a separate process, so that peaks of stages do not mix."""
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(record.timed, command, OMP_NUM_THREADS="1").result()


if __name__ == "__main__":
    main()
