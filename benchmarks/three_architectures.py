"""The three architectures against biased MF on one prepared dataset, several seeds, settings as published.

    python -m benchmarks.three_architectures --data PREPARED --name ml-latest-small

Seeds change initial values, folds and draws; the split is the data's. Everything is chosen on validation: the best
epoch, and the strength of biased MF.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import record
from gnnrec.config import parse_train_config
from gnnrec.distributed import World
from gnnrec.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="prepared dataset")
    parser.add_argument("--name", required=True, help="name of the data in the result")
    parser.add_argument("--config", default="configs/ml20m_full.yaml")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows: dict[str, dict] = {}
    for architecture in ("gcn", "sage", "gat"):
        started = time.perf_counter()
        summaries = [_train(options, architecture, seed) for seed in range(options.seeds)]
        seconds = (time.perf_counter() - started) / options.seeds
        rows[architecture] = _row(summaries, seconds)
    baselines = [summary["baselines"] for summary in summaries]
    for name in baselines[0]:
        rows[name] = {"test_rmse": _spread([row[name]["test_rmse"] for row in baselines])}
    for name, row in rows.items():
        print(f"{name:12} {row['test_rmse']}")
    figures = {"data": options.name, "split": "random 90/10", "seeds": options.seeds, "config": options.config}
    print(
        record.write(f"three_architectures_{options.name}", "benchmarks.three_architectures", figures | {"rows": rows})
    )


def _train(options: argparse.Namespace, architecture: str, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        arguments = ["--config", options.config, "--data", options.data, "--run-dir", str(Path(directory) / "run")]
        arguments += ["--model.architecture", architecture, "--seed", str(seed), "--wandb.mode", "disabled"]
        return train(parse_train_config(arguments), World())


def _row(summaries: list[dict], seconds: float) -> dict:
    return {
        "test_rmse": _spread([summary["test_rmse"] for summary in summaries]),
        "test_mae": _spread([summary["test_mae"] for summary in summaries]),
        "validation_rmse": _spread([summary["validation_rmse"] for summary in summaries]),
        "seconds": round(seconds, 1),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": round(statistics.fmean(values), 4), "spread": round(statistics.pstdev(values), 4)}


if __name__ == "__main__":
    main()
