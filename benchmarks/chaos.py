"""Injects faults into runs at random moments, resumes them, and compares the results with undisturbed runs.

    python -m benchmarks.chaos --kills 33 --seed 0 --ranks 2

The seed chooses the place and the kind of every fault; the place that it really hit is recorded. After each fault every
checkpoint must be complete, and the same command resumes from the newest one. In the end weights, records, test scores
and exports must equal those of the undisturbed run, bit for bit. Everything else counts as lost, and must not happen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.chaos_job import ROOT
from benchmarks.chaos_round import HURTS, Kill, Round

#: The runs. With the control variate a pass depends on the weights at its start.
MODES = {
    "sampled": {
        "model": {"dim": 32},
        "loader": {"folds": 5, "seed_users": 250, "movies_per_user": 10, "raters_per_movie": 10},
        "optimizer": {"epochs": 8},
    },
    "full": {
        "model": {"architecture": "gat", "layers": 2, "heads": 2, "dim": 16},
        "loader": {"folds": 20},
        "optimizer": {"epochs": 15},
    },
    "ranking": {
        "objective": "ranking",
        "ranking": {"dim": 32, "users_a_step": 50, "start": "random"},
        "optimizer": {"epochs": 9},
    },
}
_PLACES = (
    *("training", "saving", "export", "validation", "summary", "training"),
    *("export", "saving", "starting", "validation", "summary", "training"),
)
#: Places in the order in which a run reaches them.
_STAGE = {"summary": 1, "export": 2}


def plan(kills: int, modes: list[str], ranks: int, chance: random.Random) -> dict[str, list[Kill]]:
    """Returns mode -> its faults, in their order."""
    ways = {False: _cycle(list(HURTS), chance), True: _cycle([way for way in HURTS if "-9" in way], chance)}
    found: dict[str, list[Kill]] = {mode: [] for mode in modes}
    for number in range(kills):
        mode = modes[number * len(modes) // kills]
        place = _PLACES[len(found[mode]) % len(_PLACES)]
        # Before the ranks handle signals, only kill -9 tests anything.
        way = next(ways[place == "starting"])
        found[mode].append(Kill(place, way, chance.randrange(ranks), chance.random()))
    for each in found.values():
        chance.shuffle(each)
        each.sort(key=lambda kill: _STAGE.get(kill.place, 0))
    return found


def _cycle(ways: list[str], chance: random.Random):
    """Yields all items in random order, repeatedly."""
    return itertools.chain.from_iterable(chance.sample(ways, len(ways)) for _ in itertools.count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=33)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--directory", type=Path, help="directory for data and runs (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="inject 4 faults into one run and write no result file")
    options = parser.parse_args()
    modes = ["sampled"] if options.quick else list(MODES)
    kills = plan(4 if options.quick else options.kills, modes, options.ranks, random.Random(options.seed))
    with tempfile.TemporaryDirectory(prefix="gnnrec-chaos-") as own:
        directory = options.directory or Path(own)
        data = _prepare(directory, options.seed)
        rounds = [Round(directory, mode, MODES[mode], data, options.ranks, options.seed) for mode in modes]
        for each in rounds:
            each.run(kills[each.name])
    lost = [line for each in rounds for line in each.lost]
    table = [row for each in rounds for row in each.table]
    _print(table, lost)
    figures = {
        "kills": len(table),
        "lost": len(lost),
        "what_was_lost": lost,
        "ranks": options.ranks,
        "steps_repeated": sum(row["repeated"] for row in table if row["unit"] == "step"),
        "steps_of_undisturbed_runs": {each.name: each.steps for each in rounds},
        "seconds_to_be_back_median": sorted(row["seconds"] for row in table)[len(table) // 2],
        "by_place": _count(table, "where"),
        "by_way": _count(table, "way"),
        "table": [{"kill": number, **row} for number, row in enumerate(table, 1)],
    }
    if options.quick:
        print(json.dumps({name: figures[name] for name in ("kills", "lost", "steps_repeated")}))
    else:
        print(record.write("chaos", "benchmarks.chaos", figures))
    sys.exit(1 if lost else 0)


def _prepare(directory: Path, seed: int) -> Path:
    ratings, data = directory / "ratings", directory / "data"
    gnnrec = [sys.executable, "-m", "gnnrec"]
    size = ["--users", "2000", "--movies", "500", "--ratings", "80000", "--seed", str(seed), "--overwrite"]
    subprocess.run([*gnnrec, "synth", str(ratings), *size], check=True, cwd=ROOT)
    subprocess.run(
        [*gnnrec, "prepare", str(data), "--ratings", str(ratings), "--shards", "8", "--overwrite"], check=True, cwd=ROOT
    )
    return data


def _count(table: list[dict], name: str) -> dict[str, int]:
    words = [row[name].split(",")[0].split(" step")[0] for row in table]
    return {word: words.count(word) for word in sorted(set(words))}


def _print(table: list[dict], lost: list[str]) -> None:
    columns = ("run", "way", "rank", "where", "unit", "died_at", "resumed_at", "repeated", "seconds")
    rows = [[str(number), *(str(row[name]) for name in columns)] for number, row in enumerate(table, 1)]
    widths = [max(len(row[column]) for row in [["kill", *columns], *rows]) for column in range(len(columns) + 1)]
    for row in [["kill", *columns], *rows]:
        print("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())
    print(f"{len(table)} kills; lost: {'; '.join(lost) or 'nothing'}", flush=True)


if __name__ == "__main__":
    main()
