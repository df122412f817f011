"""Compares the speed of this build with that of an earlier one, the two alternating in one run.

    git clone . BASE; git -C BASE checkout COMMIT
    python -m benchmarks.speed_ratio --base BASE --base-data PREPARED_BY_BASE --data PREPARED

Each round runs every row once with each build: ``train_dist.py`` of that build on the same ratings, which it prepared
itself. Figures are medians over rounds. Needs two free cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks import record

ROOT = Path(__file__).parents[1]
#: Steps of a run, and how many at its end are counted.
STEPS, COUNTED = 12, 8
#: Row -> ranks, threads of a rank, and options, which only this build has.
RUNS: dict[str, tuple[int, int, list[str]]] = {
    "two threads": (1, 2, []),
    "one rank": (1, 1, []),
    "two ranks": (2, 1, []),
    "two ranks, bf16": (2, 1, ["--wire", "bf16"]),
}
FIGURES = ("edges_per_second", "step_seconds", "collective_seconds", "collective_mib")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a clone of the earlier build")
    parser.add_argument("--base-data", type=Path, required=True, help="the ratings, prepared by it")
    parser.add_argument("--data", type=Path, required=True, help="the same ratings, prepared by this build")
    parser.add_argument("--config", default="ml20m_full", help="name in configs/ of both builds")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    builds = {"base": (options.base.resolve(), options.base_data), "ours": (ROOT, options.data)}
    found: dict[str, dict[str, list[dict]]] = {build: {} for build in builds}
    for number in range(options.rounds):
        for name, (ranks, threads, words) in RUNS.items():
            for build, (root, data) in builds.items():
                if words and build == "base":
                    continue
                last = run(root, data.resolve(), options.config, ranks, threads, words)
                found[build].setdefault(name, []).append(last)
                print(number, build, name, json.dumps(last), flush=True)
    print(record.write("speed_ratio", "benchmarks.speed_ratio", figures(options, found)))


def figures(options: argparse.Namespace, found: dict[str, dict[str, list[dict]]]) -> dict:
    """Medians, and ratios of them."""
    median = {
        build: {
            name: {key: statistics.median(run[key] for run in rounds) for key in FIGURES}
            for name, rounds in rows.items()
        }
        for build, rows in found.items()
    }
    ours, base = median["ours"], median["base"]

    def edges(rows: dict, name: str) -> float:
        return rows[name]["edges_per_second"]

    return {
        "base_commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=options.base, capture_output=True, text=True, check=True
        ).stdout.strip(),
        "config": options.config,
        "rounds": options.rounds,
        "edges": edges(ours, "two threads") / edges(base, "two threads"),
        "edges_one_thread": edges(ours, "one rank") / edges(base, "one rank"),
        "ranks_strong": edges(ours, "two ranks") / edges(ours, "one rank"),
        "ranks_strong_base": edges(base, "two ranks") / edges(base, "one rank"),
        "ranks_strong_bf16": edges(ours, "two ranks, bf16") / edges(ours, "one rank"),
        "bytes_mb": ours["two ranks"]["collective_mib"] * 2**20 / 1e6,
        "bytes_mb_base": base["two ranks"]["collective_mib"] * 2**20 / 1e6,
        "bytes_mb_bf16": ours["two ranks, bf16"]["collective_mib"] * 2**20 / 1e6,
        "medians": median,
    }


def run(root: Path, data: Path, config: str, ranks: int, threads: int, words: list[str]) -> dict[str, float]:
    """The last steps of a short run of a build."""
    with tempfile.TemporaryDirectory() as directory:
        command = record.torchrun(ranks)
        command += [str(root / "train_dist.py"), "--config", str(root / "configs" / f"{config}.yaml")]
        command += ["--data", str(data), "--run-dir", f"{directory}/run", "--validate-every", "0"]
        command += ["--baselines", "false", "--wandb.mode", "disabled", "--device", "cpu"]
        command += ["--max-steps", str(STEPS), "--log-every", str(COUNTED // 2), *words]
        number = str(threads)
        environment = record.environment_with(OMP_NUM_THREADS=number, MKL_NUM_THREADS=number, PYTHONPATH=str(root))
        subprocess.run(command, check=True, capture_output=True, env=environment, cwd=root)
        lines = Path(directory, "run", "metrics.jsonl").read_text().splitlines()
    records = [line for line in map(json.loads, lines) if "edges_per_second" in line]
    last = records[-2:]
    return {key: statistics.mean(line[key] for line in last) for key in FIGURES}


if __name__ == "__main__":
    main()
