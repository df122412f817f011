"""Checks that training is stable at several values of ``optimizer.message_lr_degree`` and several seeds.

    python -m benchmarks.source_rate --data PREPARED

Prints, for every run, the highest mean squared error of an epoch and the best validation RMSE. A run whose loss rises
far above its first epoch's has diverged, even if it recovers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import record
from gnnrec.config.train_config import parse_train_config
from gnnrec.distributed.world import World
from gnnrec.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="prepared dataset")
    parser.add_argument("--config", default="configs/rating.yaml")
    parser.add_argument("--degrees", type=float, nargs="+", default=[0, 200, 100, 50, 25])
    parser.add_argument("--seeds", type=int, default=4)
    options = parser.parse_args()
    rows = [_row(options, degree, seed) for degree in options.degrees for seed in range(options.seeds)]
    print(record.write("source_rate", "benchmarks.source_rate", {"rows": rows}))


def _row(options: argparse.Namespace, degree: float, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        arguments = ["--config", options.config, "--data", options.data, "--run-dir", str(run), "--seed", str(seed)]
        arguments += ["--optimizer.message-lr-degree", str(degree), "--wandb.mode", "disabled", "--baselines", "false"]
        arguments += ["--interest.enabled", "false"]
        summary = train(parse_train_config(arguments), World())
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    row = {
        "message_lr_degree": degree,
        "seed": seed,
        "highest_loss": round(max(line["loss"] for line in lines if "loss" in line), 3),
        "validation_rmse": round(summary["validation_rmse"], 4),
        "test_rmse": round(summary["test_rmse"], 4),
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
