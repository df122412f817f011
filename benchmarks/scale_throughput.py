"""Measures training throughput and memory by size: the same model and configuration on graphs of very different sizes.

    python -m benchmarks.scale_throughput --data PREPARED_2M PREPARED_20M PREPARED_200M

Supervised ratings per second in the last steps of a short run, on two ranks of one thread, and the peak memory of a
rank. The sizes take turns if there is more than one round. Runs alone on its machine.
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
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared datasets, the smallest first")
    parser.add_argument("--config", default="ml20m_full", help="name in configs/")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs: dict[Path, list[dict]] = {data: [] for data in options.data}
    for _ in range(options.rounds):
        for data, found in runs.items():
            found.append(run(data, options.config, options.ranks))
            print(data.name, found[-1], flush=True)
    rows = [_row(data, found) for data, found in runs.items()]
    figures = {
        "config": options.config,
        "ranks": options.ranks,
        "rows": rows,
        "largest_to_smallest": rows[-1]["edges_per_second"] / rows[0]["edges_per_second"],
    }
    print(json.dumps(figures, indent=1))
    print(record.write("scale_throughput", "benchmarks.scale_throughput", figures))


def _row(data: Path, found: list[dict]) -> dict:
    counts = json.loads((data / "manifest.json").read_text())["counts"]
    medians = {key: statistics.median(each[key] for each in found) for key in found[0]}
    return {"ratings": counts["ratings"], "users": counts["users"], "movies": counts["movies"]} | medians


def run(data: Path, config: str, ranks: int) -> dict[str, float]:
    """Measures the last steps of a short run, and the peak memory of a rank."""
    records, summary = train_run(data, config, ranks, "--max-steps", str(STEPS), "--log-every", str(COUNTED))
    last = records[-1]
    keys = ("edges_per_second", "step_seconds", "collective_seconds", "collective_mib")
    return {key: last[key] for key in keys} | {"peak_gb": summary["peak_memory_gib"] * 2**30 / 1e9}


if __name__ == "__main__":
    main()
