"""Checks that quality does not depend on the number of ranks: test RMSE with 1 to 16 ranks, several seeds.

    python -m benchmarks.rank_quality --data PREPARED

Seeds change initial values, folds and dropout; the split is that of the data. All ranks share this machine's cores, so
nothing is timed. The difference is noise if the means are no farther apart than the seeds of one number of ranks.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import record
from benchmarks.train_run import train_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--config", default="ml20m_full", help="name in configs/")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    found: dict[int, list[float]] = {ranks: [] for ranks in options.ranks}
    for seed in options.seeds:
        for ranks in options.ranks:
            found[ranks].append(test_rmse(options.data, options.config, ranks, seed))
            print(f"seed {seed}, {ranks} ranks: test RMSE {found[ranks][-1]:.6f}", flush=True)
    rows = {
        str(ranks): {"mean": statistics.mean(rmses), "spread": max(rmses) - min(rmses), "seeds": rmses}
        for ranks, rmses in found.items()
    }
    means = [row["mean"] for row in rows.values()]
    between_ranks = max(max(same) - min(same) for same in zip(*found.values()))
    figures = {
        "config": options.config,
        "ratings": json.loads((options.data / "manifest.json").read_text())["counts"]["ratings"],
        "rmse_by_ranks": rows,
        "spread_of_means": max(means) - min(means),
        "largest_difference_of_one_seed": between_ranks,
    }
    print(json.dumps(figures, indent=1))
    print(record.write("rank_quality", "benchmarks.rank_quality", figures))


def test_rmse(data: Path, config: str, ranks: int, seed: int) -> float:
    """Trains to the end on ``ranks`` processes of one thread."""
    return train_run(data, config, ranks, "--seed", str(seed))[1]["test_rmse"]


if __name__ == "__main__":
    main()
