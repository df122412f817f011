"""Finds the setting between mini-batches and whole neighborhoods that reaches quality soonest.

    python -m benchmarks.dial --data PREPARED

One layer of GraphSAGE, validation RMSE over training seconds, a constant learning rate after the warm-up so that no
schedule favors any length. Every setting has the same time.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

import torch

from benchmarks import ours, record

#: Name -> folds, seed users of a step, neighbors of users, neighbors of movies, learning rate.
SETTINGS = {
    "all users, all neighbours": (20, 0, -1, -1, 0.01),
    "all users, 20 neighbours": (20, 0, 20, 20, 0.01),
    "all users, 10 neighbours": (10, 0, 10, 10, 0.01),
    "65,536 users, 20 neighbours": (10, 65536, 20, 20, 0.01),
    "16,384 users, 20 neighbours": (10, 16384, 20, 20, 0.004),
    "16,384 users, all neighbours": (10, 16384, -1, -1, 0.004),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--seconds", type=float, default=40.0, help="training time of each setting")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    rows = {}
    for name, setting in SETTINGS.items():
        rows[name] = _curve(options, *setting)
        last = rows[name]["curve"][-1]
        print(f"{name:30}  {last['step']:4} steps  RMSE {last['validation_rmse']:.4f} after {last['seconds']:.0f} s")
    figures = {"threads": torch.get_num_threads(), "device": options.device, "settings": rows}
    print(record.write("dial" + "_cuda" * (options.device == "cuda"), "benchmarks.dial", figures))


def _curve(options: argparse.Namespace, folds: int, seeds: int, movies: int, raters: int, lr: float) -> dict:
    chosen = {
        "loader.folds": folds,
        "loader.seed_users": seeds,
        "loader.movies_per_user": movies,
        "loader.raters_per_movie": raters,
        "optimizer.lr": lr,
        "optimizer.schedule": "constant",
        "optimizer.warmup_steps": 15,
    }
    trainer = ours.build(options.data, [f"--{name}={value}" for name, value in chosen.items()], options.device)
    curve, every = [], 5 if not seeds else 20
    for each in ours.curve(trainer, every):
        curve.append(each)
        if each["seconds"] >= options.seconds:
            break
    del trainer
    gc.collect()
    return {"options": chosen, "curve": curve}


if __name__ == "__main__":
    main()
