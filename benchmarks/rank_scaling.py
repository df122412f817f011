"""Compares one rank of one thread with two: supervised ratings per second, and the share of collectives in a step.

    python -m benchmarks.rank_scaling --data PREPARED
    python -m benchmarks.rank_scaling --data PREPARED --half HALF

The same data on one rank and on two (strong scaling), or, with data of half as many users for the one rank, as much
for each (weak scaling). Needs two free cores; runs of the two kinds alternate.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from benchmarks import record
from benchmarks.train_run import train_run

#: Steps of a run, and how many at its end are counted.
STEPS, COUNTED = 16, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--half", type=Path, help="a prepared dataset of half as many users, for the one rank")
    parser.add_argument("--config", default="ml20m_full", help="name in configs/")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    runs: dict[int, list[dict]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for ranks, found in runs.items():
            found.append(_run(options.half or options.data if ranks == 1 else options.data, options.config, ranks))
    rows = {str(ranks): {key: statistics.median(run[key] for run in found) for key in found[0]} for ranks, found in
            runs.items()}  # fmt: skip
    figures = {
        "scaling": "weak" if options.half else "strong",
        "config": options.config,
        "ranks": rows,
        "speed_up": rows["2"]["edges_per_second"] / rows["1"]["edges_per_second"],
        "collective_share": rows["2"]["collective_seconds"] / rows["2"]["step_seconds"],
        "rounds": {str(ranks): [round(run["edges_per_second"]) for run in found] for ranks, found in runs.items()},
    }
    print(json.dumps(figures, indent=1))
    print(record.write(f"rank_scaling_{figures['scaling']}", "benchmarks.rank_scaling", figures))


def _run(data: Path, config: str, ranks: int) -> dict[str, float]:
    """The last steps of a short run."""
    records, _ = train_run(data, config, ranks, "--max-steps", str(STEPS), "--log-every", str(COUNTED))
    last = records[-1]
    return {name: last[name] for name in ("edges_per_second", "step_seconds", "collective_seconds", "collective_mib")}


if __name__ == "__main__":
    main()
