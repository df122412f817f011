"""Programs that run while a test watches and disturbs them."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from gnnrec.cli.main import run_command
from gnnrec.distributed.exit import exit_on_user_error
from tests.distributed.ranks import PRELOADED
from tests.end_to_end.commands import ROOT

#: Seconds after which something hangs, also on a busy machine.
PATIENCE = 300.0


class Program:
    """A program that runs.

    Args:
        process: Its process, or that of its launcher.
        wait: Waits so many seconds for the exit code.
        log: Takes its output.
    """

    def __init__(self, pid: int, wait: Callable[[float], int | None], log: Path):
        self.process, self.log, self._wait = psutil.Process(pid), log, wait

    @property
    def output(self) -> str:
        return self.log.read_text()

    def ranks(self) -> list[psutil.Process]:
        """The processes that torchrun has started and that live, by rank."""
        found = {}
        for child in self.process.children():
            with contextlib.suppress(psutil.Error, KeyError):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found[int(child.environ()["RANK"])] = child
        return [found[rank] for rank in sorted(found)]

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Fails when the program ends before, or takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            alive = self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
            assert alive and time.monotonic() < deadline, self.output
            time.sleep(0.01)

    def wait_until_it_listens(self) -> None:
        """Until it takes SIGTERM: the program has begun, and there is time before its first loop."""

        def caught() -> int:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> 14 & 1

        self.wait_until(caught)

    def end(self) -> int:
        """Waits for its exit code."""
        return self._wait(PATIENCE)

    def kill(self) -> None:
        """Takes launcher and ranks away at once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [self.process, *self.process.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._wait(PATIENCE)


@contextlib.contextmanager
def started(command: list, log: Path, **environment: str) -> Iterator[Program]:
    """A command, of whose arguments anything is turned into text. It does not outlive the block."""
    with open(log, "w") as file:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT, env=_environment(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    yield from _until_the_end(Program(process.pid, process.wait, log))


@contextlib.contextmanager
def forked(arguments: list, log: Path, **environment: str) -> Iterator[Program]:
    """``train_dist.py`` or ``gnnrec`` with its arguments, in a process that need not import everything again."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    process = multiprocessing.get_context("forkserver").Process(
        target=_run, args=([str(word) for word in arguments], str(log), _environment(environment))
    )
    process.start()

    def wait(seconds: float) -> int | None:
        process.join(seconds)
        return process.exitcode

    yield from _until_the_end(Program(process.pid, wait, log))


def _until_the_end(program: Program) -> Iterator[Program]:
    try:
        yield program
    finally:
        program.kill()


def _environment(values: dict[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return own | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT)} | values


def _run(arguments: list[str], log: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    program, *sys.argv[1:] = arguments
    with exit_on_user_error(program):
        if program == "gnnrec":
            run_command(sys.argv[1:])
        else:
            import train_dist

            train_dist.main(sys.argv[1:])


def steps_taken(run_dir: Path) -> int:
    """The last step on record."""
    with contextlib.suppress(OSError):
        lines = (run_dir / "metrics.jsonl").read_text().split("\n")[:-1]
        return json.loads(lines[-1])["step"] if lines else 0
    return 0
