"""torchrun that can be told to stop: ``python stoppable_torchrun.py [torchrun options] PROGRAM [options]``.

Four things are different from torchrun itself:

* SLURM, and the shells between it and this process, pass one and the same signal on several times. torchrun takes a
  second one for impatience and leaves its ranks alone. Here those of the next seconds are the same signal.
* SIGUSR1, which ends torchrun, asks for a stop like SIGTERM.
* The exit code is 75 if the ranks stopped before their end and can go on later, and 2 if they complained about bad
  input; they have said so themselves, so there is no traceback. Without this, torchrun ends with 1.

* When a node joins, torchrun tells its ranks to stop and starts all of them again. That is no stop of the job.

Ranks that stop leave a line in the file ``GNNREC_STOPPED_FILE``. Then no restart of torchrun undoes the stop. The file
``GNNREC_FINISHED_FILE``, if named, is made when all ranks have come to their end.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.api import PContext

STOPPED, BAD_INPUT = 75, 2
#: Those that torchrun passes on to its ranks.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: Seconds in which further signals are the same one.
SAME = 5.0
#: Seconds that ranks have to end by themselves after the line in the file.
ENDING = 3.0


class OneSignal:
    """Stands in for ``signal.signal``: what it installs hears a signal once, not its echoes.

    Attributes:
        heard: When the last one came, by the monotonic clock.
    """

    def __init__(self) -> None:
        self._install = signal.signal
        self.heard = -math.inf

    def __call__(self, number: int, handler) -> object:
        if number not in SIGNALS or not callable(handler):
            return self._install(number, handler)

        def hear(number: int, frame: object) -> None:
            before, self.heard = self.heard, time.monotonic()
            if self.heard - before >= SAME:
                # Ranks save on SIGTERM and SIGINT.
                handler(signal.SIGTERM if number == signal.SIGHUP else number, frame)

        return self._install(number, hear)


def nothing_began(number: int, frame: object) -> None:
    """Until there are ranks there is nothing to save, and the whole command can be repeated."""
    name = signal.Signals(number).name
    Path(os.environ["GNNREC_STOPPED_FILE"]).write_text(f"stopped before any rank began ({name})\n", encoding="utf-8")
    sys.exit(STOPPED)


def is_running(pid: int) -> bool:
    """Whether a child has not ended; it is left to others to ask how."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


class StoppedFile:
    """The file ``GNNREC_STOPPED_FILE``.

    Args:
        path: Where it is. What an earlier start left there is removed.
        signals: Whether this process was told to stop.
    """

    def __init__(self, path: Path, signals: OneSignal) -> None:
        self.path, self.signals, self._restarting = path, signals, False
        self.path.unlink(missing_ok=True)

    def says_so(self) -> bool:
        """Ranks have stopped, and not for a restart."""
        return not self._restarting and self.path.exists() and self.path.stat().st_size > 0

    def doubt(self, close: Callable) -> Callable:
        """Wraps the method with which torchrun ends ranks.

        When all of them are at work and nobody has told torchrun to stop, it is about to start them again, and what
        they say does not count. When one of them has ended already, the others may be on their way.
        """

        def closing(context: PContext, *arguments: object, **options: object) -> None:
            at_work = all(is_running(pid) for pid in context.pids().values())
            self._restarting = at_work and not self.says_so() and math.isinf(self.signals.heard)
            try:
                close(context, *arguments, **options)
            finally:
                if self._restarting and math.isinf(self.signals.heard):
                    self.path.unlink(missing_ok=True)
                self._restarting = False

        return closing

    def watch(self, ended: threading.Event) -> None:
        """Ends torchrun some seconds after its ranks said that they stop, unless it is about to end already."""
        while not ended.wait(0.5):
            if self.says_so() and not ended.wait(ENDING) and self.says_so() and math.isinf(self.signals.heard):
                os.kill(os.getpid(), signal.SIGTERM)
                return


def main(arguments: list[str]) -> int:
    signal.signal = signals = OneSignal()
    note = StoppedFile(Path(os.environ["GNNREC_STOPPED_FILE"]), signals)
    for number in SIGNALS:
        signal.signal(number, nothing_began)
    signal.signal(signal.SIGUSR1, lambda number, frame: signal.raise_signal(signal.SIGTERM))

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import PContext, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    PContext.close = note.doubt(PContext.close)
    ended = threading.Event()
    threading.Thread(target=note.watch, args=(ended,), daemon=True).start()
    try:
        run.main(arguments)
        if "GNNREC_FINISHED_FILE" in os.environ:
            Path(os.environ["GNNREC_FINISHED_FILE"]).touch()
        return 0
    except SignalException as error:
        if not note.says_so():
            print(f"torchrun: ended by {error.sigval.name}, and no rank said that it saved", file=sys.stderr)
            return 128 + error.sigval
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        for code in (BAD_INPUT, STOPPED):
            if code in codes and not note.says_so():
                return code
        if not note.says_so():
            raise
    except Exception:
        # The store of the first host is gone as soon as that has stopped.
        if not note.says_so():
            raise
    finally:
        ended.set()
    return STOPPED


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as own:
        os.environ.setdefault("GNNREC_STOPPED_FILE", os.path.join(own, "stopped"))
        sys.exit(main(sys.argv[1:]))
