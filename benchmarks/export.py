"""Measures exports and recommendations for all users, into one file.

    python -m benchmarks.export --data DIR --place DIR

At MovieLens 20M's size: a short training run, then ``torchrun -m gnnrec.export`` of it on two ranks of one thread, as a
user runs it, start-up included (``ml20m_export_s``); ``gnnrec recommend --all --top 20`` (``top20_s``, all of the
command, of :mod:`benchmarks.recommend_speed`) next to the package ``implicit`` in memory (``implicit_top20_s``). Then
exports of 100,000 to 5,000,000 users with 40 ratings each (:mod:`benchmarks.export_scale`), largest last. ``kills`` and
``identical`` are those of ``export_kills.json``. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import export_scale, recommend_speed, record

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="prepared dataset of MovieLens 20M's size")
    parser.add_argument("--place", type=Path, help="directory; 15 GB for 5 million users (default: a temporary one)")
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 500_000, 1_000_000, 5_000_000])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    kills = json.loads((record.RESULTS / "export_kills.json").read_text())
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    figures: dict = {"ranks": options.ranks, "threads": threads}
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        seconds = export_ml20m(options.data, options.ranks, options.runs, Path(place))
        figures |= {"ml20m_export_s": statistics.median(seconds), "ml20m_export_runs": seconds}
        recommend = recommend_speed.measure(options.data, 64, options.runs, threads, Path(place))
    figures |= {"top20_s": recommend["command_s"], "implicit_top20_s": recommend["implicit_s"], "recommend": recommend}
    rows = []
    for users in options.users:
        with tempfile.TemporaryDirectory(dir=options.place) as place:
            rows.append(export_scale.measure(users, options.ranks, Path(place)))
        print(rows[-1], flush=True)
    figures |= {
        "big_users": rows[-1]["users"],
        "big_peak_gb": rows[-1]["peak_gb"],
        "scale": rows,
        "exponent": growth(rows),
        "kills": kills["kills"],
        "identical": kills["identical"],
        "kills_of": kills["commit"],
    }
    print(record.write("export", "benchmarks.export", figures))


def export_ml20m(data: Path, ranks: int, runs: int, place: Path) -> list[float]:
    """Measures seconds of exports of a run that trained for twenty steps."""
    torchrun = record.torchrun(ranks)
    run, out, environment = place / "run", place / "out", record.environment_with(OMP_NUM_THREADS="1")
    train = [str(ROOT / "train_dist.py"), "--config", str(ROOT / "configs" / "ml20m_full.yaml"), "--data", str(data)]
    train += ["--run-dir", str(run), "--max-steps", "20", "--baselines", "false", "--interest.enabled", "false"]
    train += ["--wandb.mode", "disabled"]
    subprocess.run(torchrun + train, check=True, env=environment)
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([*torchrun, "-m", "gnnrec.export", str(run), "--out", str(out)], check=True, env=environment)
        found.append(round(time.perf_counter() - started, 2))
        shutil.rmtree(out)
    return found


def growth(rows: list[dict]) -> float:
    """Exponent of the growth of seconds with users, above a fixed start: 1 is linear (least squares in logarithms).

    The smallest export is nearly all start-up, so its seconds are taken as the start of all.
    """
    base, users = rows[0], np.array([row["users"] - rows[0]["users"] for row in rows[1:]], float)
    more = np.array([row["seconds"] - base["seconds"] for row in rows[1:]])
    return float(np.polyfit(np.log(users), np.log(more), 1)[0].round(3))


if __name__ == "__main__":
    main()
