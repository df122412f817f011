"""Runs ``faulty.py`` on several ranks, and checks how the healthy ones end."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import socket
import sys
import time
from pathlib import Path

import torch

from gnnrec.distributed.exit import exit_on_user_error
from tests.distributed import faulty
from tests.distributed.faulty import FAULTY_RANK
from tests.distributed.ranks import PRELOADED

#: Name of the faulty rank in messages.
FAULTY_LABEL = f"rank {FAULTY_RANK} (host {socket.gethostname()}, pid "
#: The only line that every healthy rank prints at its end.
LINE = r"faulty\.py: rank {rank}: .*; restart the job \(train_dist\.py: with --resume auto\)"
#: Seconds that a busy machine may add to a timeout.
SLACK = 8


@dataclasses.dataclass
class End:
    """The end of a rank.

    Attributes:
        code: Exit code, or minus the signal.
        output: Its output on both streams.
        seconds: From ``before``, which all ranks print just before one fails, to its end; None if it was killed here.
    """

    code: int
    output: str
    seconds: float | None


def run_faulty(directory: Path, fault: str, lost: float, stall: float, ranks: int = 3) -> list[End]:
    """Starts the ranks like a launcher, but none ends the others; rank 0 serves the store."""
    with socket.socket() as server:
        server.bind(("", 0))
        port = server.getsockname()[1]
    environment = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1",
        "GNNREC_LOST_SECONDS": str(lost), "GNNREC_STALL_SECONDS": str(stall),
    }  # fmt: skip
    multiprocessing.set_forkserver_preload(PRELOADED)
    context = multiprocessing.get_context("forkserver")
    files = [directory / f"rank-{rank}.txt" for rank in range(ranks)]
    processes = [
        context.Process(target=_run, args=(fault, str(file), environment | {"RANK": str(rank)}))
        for rank, file in enumerate(files)
    ]
    try:
        for process in processes:
            process.start()
        failed = _wait_until_ready(files)
        ends: list[float | None] = [None] * ranks
        deadline = failed + 30
        while time.monotonic() < deadline and ends.count(None) > (fault == "stop"):
            time.sleep(0.05)
            for rank, process in enumerate(processes):
                if ends[rank] is None and not process.is_alive():
                    ends[rank] = time.monotonic() - failed
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [
        End(process.exitcode, file.read_text(), end) for process, file, end in zip(processes, files, ends)
    ]  # fmt: skip


def _wait_until_ready(files: list[Path]) -> float:
    deadline = time.monotonic() + 300
    while not all(file.exists() and "before" in file.read_text() for file in files):
        assert time.monotonic() < deadline, [file.read_text() for file in files if file.exists()]
        time.sleep(0.02)
    return time.monotonic()


def _run(fault: str, output: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    torch.set_num_threads(1)
    sys.argv = ["faulty.py", fault]
    with exit_on_user_error("faulty.py"):
        faulty.main(fault)


def assert_named(end: End, rank: int, *words: str) -> None:
    """Asserts that this rank printed one line with these words and ended with the code of lost ranks."""
    head, *lines = end.output.splitlines()
    assert (head, end.code, len(lines)) == (f"rank {rank}: before", 76, 1), end
    assert re.fullmatch(LINE.format(rank=rank), lines[0]), lines[0]
    for word in words:
        assert word in lines[0]
