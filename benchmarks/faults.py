"""Injects faults into every command and counts what was lost, hung, ended in a traceback or was silently wrong.

    python -m benchmarks.faults --seeds 3 --poisonings 100 --kills 40 --data DATA

* Damage of each file that a command reads: its contents, or something else in its place.
* A disk that is full or becomes read-only (this needs root), too little memory, SIGTERM, SIGUSR1, SIGINT and SIGKILL at
  a random moment, and a second job on the same output: after each the same command must continue, or begin again, and
  reach the result of the undisturbed one.
* SIGKILL of one rank or all ranks of a run, which another number of ranks resumes.
* Numbers that are not finite in a step of training (:mod:`benchmarks.poison`), on one rank and on two: the run must
  recover.

``lost`` counts files that were there before and are not, or differ, after a command that failed. ``guard_cost`` is the
share of the guard against such numbers in a step of ``ml20m_full`` on ``DATA``.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from benchmarks import record
from benchmarks.fault_campaign import Campaign, Fault
from benchmarks.fault_commands import COMMANDS
from benchmarks.fault_kinds import CONTENT, PLACE
from benchmarks.fault_ranks import kill, poison

_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGINT", "SIGKILL")
_DISKS = ("a full disk", "a read-only disk")


def tasks(
    campaign: Campaign, seeds: int, poisonings: int, kills: int
) -> Iterator[tuple[str, str, Callable[[], Fault | None]]]:
    """Yields the faults: command, kind, and a function that injects it."""
    for seed in range(seeds):
        for name, command in COMMANDS.items():
            for kind in (*CONTENT, *PLACE):
                yield name, kind, functools.partial(campaign.damage, name, kind, seed)
            for kind in (*_SIGNALS, "little memory", *(_DISKS if command.writes else ())):
                yield name, kind, functools.partial(campaign.disturb, name, kind, seed)
            if command.writes:
                yield name, "two jobs", functools.partial(campaign.twice, name, seed)
    for number in range(poisonings):
        yield "train", "poisoning", functools.partial(poison, campaign, number)
    for number in range(kills):
        yield "train", "killed ranks", functools.partial(kill, campaign, number)


def guard_cost(data: Path, pairs: int = 7, steps: int = 3) -> dict[str, float]:
    """Share of the guard in a step: the same steps with it and without, in turn, medians of pairs."""
    from benchmarks.steps import run_epoch
    from gnnrec.config.train_config import parse_train_config
    from gnnrec.data.prepared import PreparedDataset
    from gnnrec.distributed.world import World
    from gnnrec.training.finite import StepGuard
    from gnnrec.training.rating_trainer import RatingTrainer

    config = parse_train_config(
        ["--config=configs/ml20m_full.yaml", f"--data={data}", "--run-dir=unused", "--device=cpu", "--log-every=1000"]
    )
    trainer = RatingTrainer(config, PreparedDataset(data), World())
    calls: list[float] = []
    original = StepGuard.check

    def timed(self: StepGuard, *arguments: object) -> None:
        started = time.perf_counter()
        original(self, *arguments)
        calls.append(time.perf_counter() - started)

    taken = run_epoch(trainer, 0)
    next(taken)
    seconds = []
    with patch.object(StepGuard, "check", timed):
        for _ in range(pairs * steps):
            started = time.perf_counter()
            if next(taken, None) is None:
                break
            seconds.append(time.perf_counter() - started)
    guard, step = statistics.median(calls), statistics.median(seconds)
    return {"guard_cost": guard / step, "guard_seconds": guard, "step_seconds": step}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--poisonings", type=int, default=100)
    parser.add_argument("--data", type=Path, help="prepared data of ML-20M's size, for the cost of the guard")
    parser.add_argument("--kills", type=int, default=40, help="runs that other ranks resume after a kill")
    parser.add_argument("--only", nargs="+", help="inject only these kinds, or into these commands; write no file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gnnrec-faults-") as root:
        campaign = Campaign(Path(root))
        chosen = [
            task
            for command, kind, task in tasks(campaign, options.seeds, options.poisonings, options.kills)
            if not options.only or {command, kind} & {*options.only}
        ]
        faults: list[Fault] = []
        with ThreadPoolExecutor(2) as pool:
            for fault in pool.map(lambda task: task(), chosen):
                if fault is not None:
                    faults.append(fault)
                    if fault.wrong:
                        print(json.dumps(dataclasses.asdict(fault)), flush=True)
    figures = summarize(faults, options.seeds)
    print(json.dumps({name: value for name, value in figures.items() if name != "cells"}))
    if not options.only:
        cost = guard_cost(options.data) if options.data else {}
        print(record.write("faults", "benchmarks.faults", figures | cost))


def summarize(faults: list[Fault], seeds: int) -> dict:
    """The figures of a campaign."""
    poisonings = [fault for fault in faults if fault.kind == "poisoning"]
    cells = Counter((fault.command, fault.kind) for fault in faults)
    kills = sum(fault.kind in ("SIGKILL", "killed ranks") for fault in faults)
    return {
        "faults": len(faults),
        "cells_of_command_and_fault": len(cells),
        "seeds": seeds,
        **{
            name: sum(name in fault.wrong for fault in faults) for name in ("lost", "traceback", "hang", "silent_wrong")
        },
        "poisonings": len(poisonings),
        "recovered": sum(not fault.wrong for fault in poisonings),
        "kills_resumed_by_other_ranks": sum(fault.kind == "killed ranks" for fault in faults),
        "kills": kills + json.loads((record.RESULTS / "chaos.json").read_text())["kills"],
        "exit_codes": dict(Counter(str(fault.code) for fault in faults)),
        "what_went_wrong": [dataclasses.asdict(fault) for fault in faults if fault.wrong],
        "cells": {f"{command}: {kind}": count for (command, kind), count in sorted(cells.items())},
    }


if __name__ == "__main__":
    main()
