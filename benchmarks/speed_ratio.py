r"""Compares the speed of this build with that of an earlier one, the two alternating in one run.

    git clone . BASE; git -C BASE checkout COMMIT
    python -m benchmarks.speed_ratio --base BASE --base-data PREPARED_BY_BASE --data PREPARED --ratings RATINGS \
        --half HALF

Each round runs every row once with each build: ``train_dist.py``, ``gnnrec prepare`` or ``gnnrec export`` of that
build, as a user runs them. ``plain`` and ``gat_plain`` are next to the plain PyG recipe at its best
(:mod:`benchmarks.plain_pyg`) in the same rounds. Figures are medians over rounds; ratios are above 1 where this build
is faster. Bytes and seconds of other networks, and the peak with 200 million ratings, are those of
``many_movies.json``, ``hosts.json``, ``hosts_bf16.json`` and ``scale_throughput.json``. Needs two free cores, and a
directory for files of a few gigabytes (``TMPDIR``).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.plain_pyg import edges_per_second
from benchmarks.plain_pyg_graph import PlainGraph

ROOT = Path(__file__).parents[1]
#: Steps of a run. The last ones are counted: as many as an epoch has, with all that is computed once an epoch.
STEPS, COUNTED, EVERY = 24, 20, 4
GAT = ["--model.architecture", "gat", "--model.layers", "2", "--loader.folds", "10", "--loader.seed-users", "0"]
GAT += ["--loader.movies-per-user", "10", "--loader.raters-per-movie", "10"]
FIGURES = ("edges_per_second", "step_seconds", "collective_seconds", "collective_mib")
_LINE = re.compile(r"(\d+) (base|ours) (.+?) (\{.*\})")
#: Validation RMSE to which ``time_to_quality`` trains, on synthetic ratings of ML-20M's size.
GOAL = 0.77125


@dataclasses.dataclass(frozen=True)
class Build:
    """A checkout and the ratings that it prepared.

    Attributes:
        root: The checkout.
        data: A prepared dataset.
    """

    root: Path
    data: Path

    def environment(self, threads: int) -> dict[str, str]:
        number = str(threads)
        return record.environment_with(OMP_NUM_THREADS=number, MKL_NUM_THREADS=number, PYTHONPATH=str(self.root))

    def run(self, command: list[str], threads: int = 1) -> float:
        """Runs a command in the checkout; returns its seconds, start-up included."""
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=self.environment(threads), cwd=self.root)
        return time.perf_counter() - started

    def train(self, run_dir: Path, ranks: int, threads: int, steps: int, data: Path, words: list[str]) -> None:
        command = [*record.torchrun(ranks), str(self.root / "train_dist.py")]
        command += ["--config", str(self.root / "configs" / "ml20m_full.yaml"), "--data", str(data)]
        command += ["--run-dir", str(run_dir), "--validate-every", "0", "--baselines", "false"]
        command += ["--wandb.mode", "disabled", "--device", "cpu", "--max-steps", str(steps), *words]
        if (self.root / "gnnrec" / "models" / "interest_options.py").exists():  # the earlier build has none
            command += ["--interest.enabled", "false"]
        self.run([*command, "--log-every", str(EVERY)], threads)

    def steps(self, ranks: int, threads: int, words: list[str], data: Path | None = None) -> dict[str, float]:
        """Means over the last steps of a short run."""
        with tempfile.TemporaryDirectory() as place:
            self.train(Path(place, "run"), ranks, threads, STEPS, data or self.data, words)
            lines = Path(place, "run", "metrics.jsonl").read_text().splitlines()
            peak = json.loads(Path(place, "run", "summary.json").read_text())["peak_memory_gib"]
        records = [line for line in map(json.loads, lines) if "edges_per_second" in line][-COUNTED // EVERY :]
        found = {key: statistics.mean(line[key] for line in records) for key in FIGURES}
        found["edges_per_second"] = statistics.harmonic_mean([line["edges_per_second"] for line in records])
        return found | {"peak_gb": peak * 2**30 / 1e9}

    def quality(self, threads: int) -> dict[str, float]:
        """Seconds of training, without validation, until an epoch ends at or below :data:`GOAL`."""
        with tempfile.TemporaryDirectory() as place:
            self.train(Path(place, "run"), 1, threads, 0, self.data, ["--validate-every", "1"])
            lines = Path(place, "run", "metrics.jsonl").read_text().splitlines()
        seconds, before = 0.0, 0
        for line in map(json.loads, lines):
            if "step_seconds" in line:
                seconds, before = seconds + (line["step"] - before) * line["step_seconds"], line["step"]
            if line.get("validation_rmse", GOAL + 1) <= GOAL:
                return {"seconds": seconds, "steps": before, "validation_rmse": line["validation_rmse"]}
        raise SystemExit(f"{self.root}: {lines[-1]} is above {GOAL}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="a clone of the earlier build")
    parser.add_argument("--base-data", type=Path, required=True, help="the ratings, prepared by it")
    parser.add_argument("--data", type=Path, required=True, help="the same ratings, prepared by this build")
    parser.add_argument("--ratings", type=Path, required=True, help="the ratings themselves")
    parser.add_argument("--half", type=Path, required=True, help="data of half as many users, prepared by this build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quality-rounds", type=int, default=3, help="rounds in which both train to the goal")
    parser.add_argument("--log", type=Path, help="output of an interrupted run of these builds, which is continued")
    parser.add_argument("--rows", nargs="+", help="measure these rows again and keep the others of the published file")
    options = parser.parse_args()
    base, ours = Build(options.base.resolve(), options.base_data.resolve()), Build(ROOT, options.data.resolve())
    builds = {"base": base, "ours": ours}
    found, begun = read_log(options.log)
    with tempfile.TemporaryDirectory() as place:
        for name, build in builds.items():
            build.train(Path(place, name), 2, 1, 2, build.data, [])
        rows = {row: how for row, how in rows_of(options, Path(place)).items() if row in (options.rows or [row])}
        for number in range(begun, options.rounds):
            for row, (measure, both) in rows.items():
                for name, build in builds.items():
                    if (both or name == "ours") and (row != "quality" or number < options.quality_rounds):
                        found[name].setdefault(row, []).append(measure(name, build))
                        print(number, name, row, json.dumps(found[name][row][-1]), flush=True)
                write(options, found)
    print(write(options, found))


def read_log(path: Path | None) -> tuple[dict[str, dict[str, list[dict[str, float]]]], int]:
    """Figures of the whole rounds in the output of a run, by build and row, and the number of these rounds."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {"base": {}, "ours": {}}
    lines = [] if path is None else [_LINE.fullmatch(line) for line in path.read_text().splitlines()]
    rounds: dict[int, list[re.Match]] = {}
    for match in filter(None, lines):
        rounds.setdefault(int(match[1]), []).append(match)
    rows = {match[3] for match in rounds.get(0, [])} - {"quality"}  # which is not measured in every round
    whole = [number for number in sorted(rounds) if rows <= {match[3] for match in rounds[number]}]
    for match in (match for number in whole for match in rounds[number]):
        found[match[2]].setdefault(match[3], []).append(json.loads(match[4]))
    return found, len(whole)


Measure = Callable[[str, Build], dict[str, float]]


def rows_of(options: argparse.Namespace, place: Path) -> dict[str, tuple[Measure, bool]]:
    """Returns how each row is measured, and whether with both builds."""

    torch.set_num_threads(2)
    graph, best = PlainGraph(options.data), json.loads((record.RESULTS / "train_speed.json").read_text())

    def plain(name: str, build: Build) -> dict[str, float]:
        return {"edges_per_second": edges_per_second(graph, best["plain_batch"], best["plain_workers"], 12.0)}

    def steps(ranks: int, threads: int, words: list[str], data: Path | None = None) -> Measure:
        return lambda name, build: build.steps(ranks, threads, words, data)

    def prepare(name: str, build: Build) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as out:
            command = ["python", "-m", "gnnrec", "prepare", f"{out}/data", "--ratings", str(options.ratings.resolve())]
            return {"seconds": build.run(command, 2)}

    def export(name: str, build: Build) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as out:
            command = [*record.torchrun(2), "-m", "gnnrec.export", str(place / name), "--out", f"{out}/vectors"]
            return {"seconds": build.run(command)}

    return {
        "two threads": (steps(1, 2, []), True),
        "one rank": (steps(1, 1, []), True),
        "two ranks": (steps(2, 1, []), True),
        "two ranks, bf16": (steps(2, 1, ["--wire", "bf16"]), False),
        "one rank, half": (steps(1, 1, [], options.half.resolve()), False),
        "gat": (steps(1, 2, GAT), True),
        "plain": (plain, False),
        "prepare": (prepare, True),
        "export": (export, True),
        "quality": (lambda name, build: build.quality(2), True),
    }


def write(options: argparse.Namespace, found: dict) -> Path:
    """Writes medians of what has been measured so far, and their ratios."""
    path = record.RESULTS / "speed_ratio.json"
    kept: dict = json.loads(path.read_text()) if options.rows else {"rounds": {}, "commits": {}, "medians": {}}
    median = {
        build: kept["medians"].get(build, {})
        | {
            name: {key: statistics.median(run[key] for run in rounds) for key in rounds[0]}
            for name, rounds in rows.items()
        }
        for build, rows in found.items()
    }

    def edges(build: str, row: str) -> float | None:
        return median[build].get(row, {}).get("edges_per_second")

    def ratio(first: float | None, second: float | None) -> float | None:
        return None if first is None or second is None else first / second

    def faster(row: str) -> float | None:
        """Speed over that of the build before, by edges per second or by seconds."""
        if row in ("prepare", "export", "quality"):
            return ratio(*(median[build].get(row, {}).get("seconds") for build in ("base", "ours")))
        return ratio(edges("ours", row), edges("base", row))

    def megabytes(build: str, row: str) -> float | None:
        found = median[build].get(row, {}).get("collective_mib")
        return None if found is None else found * 2**20 / 1e6

    figures = {
        "base_commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=options.base, capture_output=True, text=True, check=True
        ).stdout.strip(),
        "rounds": kept["rounds"] | {row: len(runs) for row, runs in found["ours"].items()},
        "commits": kept["commits"] | dict.fromkeys(found["ours"], record.COMMIT),
        "time_to_quality": faster("quality"),
        "edges": faster("two threads"),
        "edges_one_thread": faster("one rank"),
        "edges_two_ranks": faster("two ranks"),
        "gat": faster("gat"),
        "plain": ratio(edges("ours", "two threads"), edges("ours", "plain")),
        "gat_plain": ratio(edges("ours", "gat"), edges("ours", "plain")),
        "prepare": faster("prepare"),
        "export": faster("export"),
        "ranks_strong": ratio(edges("ours", "two ranks"), edges("ours", "one rank")),
        "ranks_strong_base": ratio(edges("base", "two ranks"), edges("base", "one rank")),
        "ranks_strong_bf16": ratio(edges("ours", "two ranks, bf16"), edges("ours", "one rank")),
        "ranks_weak": ratio(edges("ours", "two ranks"), edges("ours", "one rank, half")),
        "ranks_weak_bf16": ratio(edges("ours", "two ranks, bf16"), edges("ours", "one rank, half")),
        "bytes_mb": megabytes("ours", "two ranks"),
        "bytes_mb_base": megabytes("base", "two ranks"),
        "bytes_mb_bf16": megabytes("ours", "two ranks, bf16"),
        "peak_gb_20m": median["ours"].get("two ranks", {}).get("peak_gb"),
        "peak_gb_20m_base": median["base"].get("two ranks", {}).get("peak_gb"),
        **of_other_files(),
        "medians": median,
    }
    return record.write("speed_ratio", "benchmarks.speed_ratio", figures)


def of_other_files() -> dict[str, float]:
    """Figures that this benchmark does not measure: of networks, and of 200 million ratings."""
    most = json.loads((record.RESULTS / "many_movies.json").read_text())["rows"][-1]
    found = {"many_movies_mib": most["active"]["collective_mib"]}
    for name, suffix in (("hosts", ""), ("hosts_bf16", "_bf16")):
        hosts = json.loads((record.RESULTS / f"{name}.json").read_text())["hosts"]
        for count in ("2", "4"):
            found[f"seconds_{count}_hosts{suffix}"] = hosts[count]["collective_seconds"]
    found["peak_gb_200m"] = json.loads((record.RESULTS / "scale_throughput.json").read_text())["rows"][-1]["peak_gb"]
    return found


if __name__ == "__main__":
    main()
