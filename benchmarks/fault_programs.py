"""Starts the project's programs in processes that need not import everything again, and watches how they end."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Seconds after which a program hangs.
PATIENCE = 60.0
Signals = tuple[tuple[float | Callable[[], bool], int], ...]
_PRELOADED = ["gnnrec.training.run", "gnnrec.cli.main", "gnnrec.inference.export", "torch._dynamo"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a program.

    Attributes:
        code: Exit code; that of a signal is negative.
        output: Standard output and error.
        seconds: From start to end.
        hang: It had to be killed after :data:`PATIENCE` seconds.
    """

    code: int
    output: str
    seconds: float
    hang: bool

    @property
    def traceback(self) -> bool:
        """Whether it died in another way than with a line."""
        return "Traceback (most recent call last)" in self.output or self.code in (-signal.SIGSEGV, -signal.SIGABRT)

    @property
    def result(self) -> str:
        """Its output without times and warnings."""
        return "\n".join(line for line in self.output.splitlines() if not line.startswith("warning:"))


def run_program(
    words: list[str], log: Path, prepare: Callable[[], None] | None = None, signals: Signals = ()
) -> Outcome:
    """Runs ``train_dist.py`` or ``gnnrec`` with its arguments.

    Args:
        words: The program and its arguments.
        log: Takes its output.
        prepare: Called in the process before the program, such as to limit what it may do.
        signals: Seconds after the start, or a condition, and the signal that is then sent.
    """
    multiprocessing.set_forkserver_preload(_PRELOADED)
    process = multiprocessing.get_context("forkserver").Process(target=_run, args=(words, str(log), prepare))
    process.start()
    started = time.monotonic()
    for after, number in signals:
        if callable(after):
            while process.exitcode is None and not after() and time.monotonic() < started + PATIENCE:
                process.join(0.002)
        else:
            process.join(max(started + after - time.monotonic(), 0))
        if process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
    process.join(max(started + PATIENCE - time.monotonic(), 0))
    hang = process.exitcode is None
    if hang:
        process.kill()
        process.join()
    seconds = time.monotonic() - started
    return Outcome(process.exitcode, log.read_text(errors="replace") if log.exists() else "", seconds, hang)


def _run(words: list[str], log: str, prepare: Callable[[], None] | None) -> None:
    os.environ.update(OMP_NUM_THREADS="1", WANDB_MODE="offline")
    os.chdir(ROOT)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    from gnnrec.cli.main import run_command
    from gnnrec.distributed.exit import exit_on_user_error

    program, *sys.argv[1:] = words
    with contextlib.ExitStack() as stack:
        if prepare is not None:
            prepared = prepare()
            if isinstance(prepared, contextlib.AbstractContextManager):
                stack.enter_context(prepared)
        with exit_on_user_error(program):
            if program == "gnnrec":
                run_command(sys.argv[1:])
            else:
                import train_dist

                train_dist.main(sys.argv[1:])
