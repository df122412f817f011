"""Runs ``faulty.py`` on several ranks, and checks how those end that are not to blame."""

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
from tests.distributed.faulty import GUILTY
from tests.distributed.ranks import PRELOADED

#: How the rank that goes wrong is called.
GUILTY_NAMED = f"rank {GUILTY} (host {socket.gethostname()}, pid "
#: Every other rank leaves with this line of its own and nothing else.
LINE = r"faulty\.py: rank {rank}: .*; start again \(train_dist\.py: with --resume auto\)"
#: What a busy machine may add to a limit.
SLACK = 8


@dataclasses.dataclass
class End:
    """How a rank ended.

    Attributes:
        code: Exit code, or minus the signal.
        output: What it printed, on both streams.
        seconds: From ``before``, which all ranks print just before one goes wrong, to its end; None when killed here.
    """

    code: int
    output: str
    seconds: float | None


def run_faulty(directory: Path, fault: str, lost: float, stall: float, ranks: int = 3) -> list[End]:
    """Starts the ranks as a launcher does, without one that would end the others; rank 0 serves the store."""
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
        went_wrong = _wait_until_ready(files)
        ends: list[float | None] = [None] * ranks
        deadline = went_wrong + 30
        while time.monotonic() < deadline and ends.count(None) > (fault == "stop"):
            time.sleep(0.05)
            for rank, process in enumerate(processes):
                if ends[rank] is None and not process.is_alive():
                    ends[rank] = time.monotonic() - went_wrong
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [
        End(process.exitcode, file.read_text(), end) for process, file, end in zip(processes, files, ends)
    ]  # fmt: skip


def _wait_until_ready(files: list[Path]) -> float:
    deadline = time.monotonic() + 60
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
    """This rank printed its one line, with these words in it, and ended with the code of lost ranks."""
    head, *lines = end.output.splitlines()
    assert (head, end.code, len(lines)) == (f"rank {rank}: before", 76, 1), end
    assert re.fullmatch(LINE.format(rank=rank), lines[0]), lines[0]
    for word in words:
        assert word in lines[0]
