"""Faults of runs on several ranks: numbers that are not finite, and kills after which other ranks resume the run."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fault_campaign import Campaign, Fault
from benchmarks.fault_commands import COMMANDS
from benchmarks.fault_programs import Outcome, run_program
from benchmarks.poison import KINDS, poisoned

#: Largest distance of the test RMSE of a run that has recovered from that of the undisturbed one.
_NOISE = 0.05
#: Seconds after which torchrun has noticed that a rank has died, and asks the others to stop.
_NOTICED = 0.3


def poison(campaign: Campaign, number: int) -> Fault:
    """Puts a number that is not finite into a step of a run on one rank or two."""
    chance, command = random.Random(f"poison {number}"), COMMANDS["train"]
    place = campaign.place(f"poison {number}", command)
    kind, step, ranks = chance.choice(KINDS), chance.randrange(2, 25), 1 + number % 2
    wire = ["--wire", "bf16"] if number % 4 == 1 else []
    rank = chance.randrange(ranks)
    outcomes = _run_ranks(ranks, [*command.words(place), *wire], place, poison=(kind, step, rank))
    fault = Fault("poisoning", "train", f"{kind} of rank {rank} of {ranks} in step {step} {' '.join(wire)}", 0)
    _judge(fault, outcomes)
    if fault.code:
        fault.wrong["silent_wrong"] = f"not recovered: {outcomes[0].output[-300:]}"
        return fault
    found, expected = (json.loads((root / "run" / "summary.json").read_text()) for root in (place, campaign.base))
    if abs(found["test_rmse"] - expected["test_rmse"]) > _NOISE or not found.get("returns"):
        fault.wrong["silent_wrong"] = f"test RMSE {found['test_rmse']:.4f}, returns {found.get('returns')}"
    return fault


def kill(campaign: Campaign, number: int) -> Fault | None:
    """Kills one rank or all ranks of a run, and lets another number of ranks resume it; None if it came too late."""
    chance, command = random.Random(f"kill {number}"), COMMANDS["train"]
    place = campaign.place(f"kill {number}", command)
    before, after = chance.sample((1, 2, 3), 2)
    seconds = chance.uniform(0.05, 1.0) * campaign.seconds["train"] * before
    victim = chance.choice((*range(before), None))
    signals = [
        ((seconds, signal.SIGKILL),)
        if victim in (rank, None)
        else ((seconds + _NOTICED, signal.SIGTERM), (seconds + 30, signal.SIGKILL))
        for rank in range(before)
    ]
    outcomes = _run_ranks(before, command.words(place), place, signals)
    if all(outcome.code != -signal.SIGKILL for outcome in outcomes):
        return None
    killed = "all ranks" if victim is None else f"rank {victim}"
    detail = f"{killed} of {before} after {seconds:.2f} s, resumed by {after}"
    fault = Fault("killed ranks", "train", detail, 0)
    _judge(fault, outcomes)
    again = _run_ranks(after, command.words(place), place)
    if any(outcome.code for outcome in again):
        fault.wrong["lost"] = f"it is not resumed: {again[0].output[-300:]}"
    else:
        campaign.compare(fault, "train", again[0], place)
    return fault


def _judge(fault: Fault, outcomes: list[Outcome]) -> None:
    fault.code = max(outcome.code for outcome in outcomes)
    for outcome in outcomes:
        if outcome.hang:
            fault.wrong["hang"] = outcome.output[-300:]
        if outcome.traceback:
            fault.wrong["traceback"] = outcome.output[-600:]


def _run_ranks(
    ranks: int,
    words: list[str],
    place: Path,
    signals: list[tuple[tuple[float, int], ...]] | None = None,
    poison: tuple[str, int, int] | None = None,
) -> list[Outcome]:
    """Runs a program on several ranks; each gets its signals."""
    port = _free_port()
    with ThreadPoolExecutor(ranks) as pool:
        prepared = [functools.partial(_as_rank, rank, ranks, port, poison) for rank in range(ranks)]
        running = [
            pool.submit(run_program, words, place / f"log-{rank}", prepared[rank], signals[rank] if signals else ())
            for rank in range(ranks)
        ]
        return [outcome.result() for outcome in running]


def _as_rank(rank: int, size: int, port: int, poison: tuple[str, int, int] | None) -> ExitStack:
    """Makes the process a rank, one of whose steps may be poisoned."""
    if size > 1:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
        )  # fmt: skip
    stack = ExitStack()
    if poison is not None:
        stack.enter_context(poisoned(*poison))
    return stack


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
