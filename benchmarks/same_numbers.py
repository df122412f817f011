"""Compares the numbers of two versions of the program, bit for bit, on the CPU with one thread a rank.

    python -m benchmarks.same_numbers record BEFORE.json --tree CHECKOUT
    python -m benchmarks.same_numbers record AFTER.json --tree OTHER_CHECKOUT
    python -m benchmarks.same_numbers compare BEFORE.json AFTER.json

``record`` runs the command line of a checkout: every published configuration on one rank and on two, and variants
(``same_numbers_cases.py``). It keeps checksums of all tensors of checkpoints, of the columns of exports and
recommendations and of prepared arrays, and all numbers of ``metrics.jsonl``, ``summary.json``, ``config.yaml`` and
manifests except clocks. Text is not kept. ``compare`` prints every difference and exits with 1 if there is any.

Both recordings must be made on one machine with the same packages. Names that a version has changed are translated by
the table in ``same_numbers_names.py``. ``--only`` records a part of the runs, and ``compare`` then prints this.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.same_numbers_cases import PREPARED, published, variants, write_raw
from benchmarks.same_numbers_names import translate
from benchmarks.same_numbers_read import Record, is_array, read_directory
from benchmarks.same_numbers_run import ENVIRONMENT, Tree, record_case, record_data

#: A recording with less than this is refused.
LEAST_CASES, LEAST_ARRAYS, LEAST_NUMBERS = 65, 8_500, 11_000
#: Every case that trains has at least so many arrays, and so many records of metrics.
LEAST_ARRAYS_OF_RUN, LEAST_RECORDS_OF_RUN = 6, 3

#: Name of a case -> its record.
Cases = dict[str, Record]


def record(out: Path, checkout: Path, jobs: int = 2, only: str | None = None, torchrun: bool = False) -> None:
    """Runs all cases of a checkout and writes their numbers.

    Args:
        out: File to write.
        checkout: The checkout.
        jobs: Commands at a time.
        only: Regular expression: runs of training whose names do not have it are left out.
        torchrun: Start all ranks with torchrun.
    """
    os.environ |= ENVIRONMENT
    # Ranks share the cores that they see; with two of them every rank computes on one thread.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as place, ThreadPoolExecutor(jobs) as pool:
        tree = Tree(checkout, Path(place), torchrun)
        write_raw(tree.place / "raw")
        datasets = ["synth", *PREPARED]
        cases: Cases = {"raw": read_directory(tree.place / "raw", "raw")}
        found = pool.map(functools.partial(record_data, tree), datasets)
        cases |= {f"prepared-{name}": values for name, values in zip(datasets, found, strict=True)}
        runs = [case for case in published(tree.tree / "configs") + variants() if re.search(only or "", case.label)]
        for case, values in zip(runs, pool.map(functools.partial(record_case, tree), runs), strict=True):
            if case.label in cases:
                raise ValueError(f"two cases are called {case.label}")
            cases[case.label] = values
            print(f"{time.perf_counter() - started:6.1f} s  {case.label}: {len(values)} values", flush=True)
    check_complete(str(checkout), cases, only)
    content = {"tree": str(checkout), "made_with": tree.versions(), "only": only, "cases": cases}
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: {counts(cases)}, {time.perf_counter() - started:.0f} s")


def counts(cases: Cases) -> str:
    """Describes the size of a recording in words."""
    values = [value for case in cases.values() for value in case.values()]
    arrays = sum(map(is_array, values))
    return f"{len(cases)} cases, {arrays} tensors and arrays, {len(values) - arrays} numbers"


def check_complete(name: str, cases: Cases, only: str | None) -> None:
    """Refuses a recording that lacks a part of what every version must have.

    Args:
        name: Its name.
        cases: Its content.
        only: What :func:`record` was asked for: fewer cases are then enough, but not none.

    Raises:
        SystemExit: Names what is missing.
    """
    values = [value for case in cases.values() for value in case.values()]
    arrays = sum(map(is_array, values))
    of_data = {label for label in cases if label == "raw" or label.startswith("prepared-")}
    few = len(cases) < LEAST_CASES or arrays < LEAST_ARRAYS or len(values) - arrays < LEAST_NUMBERS
    if len(cases) == len(of_data) or (few and only is None):
        raise SystemExit(f"{name} is not complete: {counts(cases)}")
    for label, case in cases.items():
        least = 1 if label in of_data else LEAST_ARRAYS_OF_RUN
        if sum(map(is_array, case.values())) < least:
            raise SystemExit(f"{name} is not complete: {label} has fewer than {least} arrays")
        records = {key.split("/")[2] for key in case if key.startswith("run/metrics/")}
        if label not in of_data and len(records) < LEAST_RECORDS_OF_RUN:
            raise SystemExit(f"{name} is not complete: {label} has {len(records)} records of metrics")


def differences(before: Cases, after: Cases) -> list[str]:
    """Every difference of two recordings in a line; names are translated unless both have the same ones."""
    if {name: set(case) for name, case in before.items()} != {name: set(case) for name, case in after.items()}:
        before = renamed(before)
    lines = [f"{name}: only before" for name in before if name not in after]
    lines += [f"{name}: only after" for name in after if name not in before]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        lines += [f"{name}: {key}: only before" for key in old if key not in new]
        lines += [f"{name}: {key}: only after" for key in new if key not in old]
        # As text, so that no number is equal to another one for a tolerance, and not a number is equal to itself.
        texts = {key: (json.dumps(old[key]), json.dumps(new[key])) for key in old.keys() & new.keys()}
        lines += [
            f"{name}: {key}: {first} before, {second} after"
            for key, (first, second) in texts.items()
            if first != second
        ]
    return sorted(lines)


def renamed(cases: Cases) -> Cases:
    """A recording with the names that its cases and values have now.

    Raises:
        SystemExit: Two names become one.
    """
    result: Cases = {}
    for name, case in cases.items():
        values = {translate(key): value for key, value in case.items()}
        label = translate(f"case/{name}").removeprefix("case/")
        if label in result or len(values) < len(case):
            raise SystemExit(f"{name}: two names become one: correct same_numbers_names.py")
        result[label] = values
    return result


def _matching(cases: Cases, patterns: list[str]) -> Cases:
    return {
        name: case
        for name, case in cases.items()
        if name == "raw" or name.startswith("prepared-") or all(re.search(pattern, name) for pattern in patterns)
    }


def compare(before: Path, after: Path) -> int:
    """Prints the differences of two recordings, and returns the exit code."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in (before, after)]
    if contents[0]["made_with"] != contents[1]["made_with"]:
        print(f"not comparable: made with {contents[0]['made_with']} and with {contents[1]['made_with']}")
        return 1
    for path, content in zip((before, after), contents):
        check_complete(str(path), content["cases"], content.get("only"))
    first, second = (content["cases"] for content in contents)
    parts = [content.get("only") for content in contents if content.get("only") is not None]
    if parts:
        first, second = (_matching(cases, parts) for cases in (first, second))
        print(f"only a part of the cases is compared: {' and '.join(parts)}")
        check_complete(str(after), second, parts[0])
    lines = differences(first, second)
    for line in lines:
        print(line)
    print(f"{len(lines)} differences" if lines else f"the same bit for bit: {counts(second)}")
    return 1 if lines else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="same_numbers", description="Compares the numbers of two checkouts.")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run a checkout and keep its numbers")
    recording.add_argument("out", type=Path, help="JSON file to write")
    recording.add_argument("--tree", type=Path, required=True, help="the checkout")
    recording.add_argument("--jobs", type=int, default=2, help="commands at a time (default: 2)")
    recording.add_argument("--only", help="record only runs whose names have this regular expression")
    recording.add_argument("--torchrun", action="store_true", help="start all ranks with torchrun, which takes longer")
    comparing = commands.add_parser("compare", help="compare two recordings")
    comparing.add_argument("before", type=Path, help="recording of the older checkout")
    comparing.add_argument("after", type=Path, help="recording of the newer checkout")
    given = parser.parse_args()
    if given.command == "compare":
        return compare(given.before, given.after)
    record(given.out, given.tree, given.jobs, given.only, given.torchrun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
