"""torchrun that can be stopped: ``python stoppable_torchrun.py [torchrun options] PROGRAM [options]``.

It differs from torchrun in five ways:

* SLURM, and the shells between it and this process, pass the same signal on several times. torchrun takes a second one
  for impatience and abandons its ranks. Here signals within a few seconds count as one.
* SIGUSR1, which ends torchrun, requests a stop like SIGTERM.
* The exit code is 75 if the ranks stopped and can be resumed, 2 if they reported bad input, and 76 if they ended
  because ranks of other nodes were lost; the ranks have printed the reason, so there is no traceback. torchrun itself
  would exit with 1.
* If ``TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE`` is set, torchrun puts it before each line of a rank. torchrun itself does
  so only with ``--tee``. No files are left behind.
* When a node joins, torchrun stops its ranks and starts all of them again. This does not count as a stop of the job.

Ranks that stop write a line to the file ``GNNREC_STOPPED_FILE``; torchrun then does not restart them. The file
``GNNREC_FINISHED_FILE``, if set, is made when all ranks have finished.
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

STOPPED, BAD_INPUT, RANKS_LOST = 75, 2, 76
#: Signals that torchrun passes on to its ranks.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
#: Variable of torchrun with the text before each line of a rank.
TEMPLATE = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"
#: Seconds in which repeated signals count as one.
SAME = 5.0
#: Seconds that ranks have to exit after they wrote the line.
ENDING = 3.0


class OneSignal:
    """Replaces ``signal.signal``: handlers that it installs receive a signal once, without its repetitions.

    Attributes:
        latest: Time of the latest signal on the monotonic clock.
    """

    def __init__(self) -> None:
        self._install = signal.signal
        self.latest = -math.inf

    def __call__(self, number: int, handler) -> object:
        if number not in SIGNALS or not callable(handler):
            return self._install(number, handler)

        def receive(number: int, frame: object) -> None:
            previous, self.latest = self.latest, time.monotonic()
            if self.latest - previous >= SAME:
                # Ranks save on SIGTERM and SIGINT.
                handler(signal.SIGTERM if number == signal.SIGHUP else number, frame)

        return self._install(number, receive)


def stop_before_start(number: int, frame: object) -> None:
    """Exits before any rank has started: nothing has to be saved, and the command can be repeated."""
    name = signal.Signals(number).name
    Path(os.environ["GNNREC_STOPPED_FILE"]).write_text(f"stopped before any rank began ({name})\n", encoding="utf-8")
    sys.exit(STOPPED)


def is_running(pid: int) -> bool:
    """Whether a child has not ended; its exit status is left for others to read."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


class StoppedFile:
    """The file ``GNNREC_STOPPED_FILE``.

    Args:
        path: Path of the file; a file of an earlier start is removed.
        signals: Signals received by this process.
    """

    def __init__(self, path: Path, signals: OneSignal) -> None:
        self.path, self.signals, self._restarting = path, signals, False
        self.path.unlink(missing_ok=True)

    def has_line(self) -> bool:
        """Whether ranks have stopped, and not for a restart."""
        return not self._restarting and self.path.exists() and self.path.stat().st_size > 0

    def ignore_restarts(self, close: Callable) -> Callable:
        """Wraps the method with which torchrun ends ranks.

        If all of them are running and torchrun was not asked to stop, it is about to restart them, and their lines do
        not count. If one of them has already ended, the others may be stopping.
        """

        def closing(context: PContext, *arguments: object, **options: object) -> None:
            all_running = all(is_running(pid) for pid in context.pids().values())
            self._restarting = all_running and not self.has_line() and math.isinf(self.signals.latest)
            try:
                close(context, *arguments, **options)
            finally:
                if self._restarting and math.isinf(self.signals.latest):
                    self.path.unlink(missing_ok=True)
                self._restarting = False

        return closing

    def watch(self, ended: threading.Event) -> None:
        """Ends torchrun some seconds after its ranks stopped, unless it is already ending."""
        while not ended.wait(0.5):
            if self.has_line() and not ended.wait(ENDING) and self.has_line() and math.isinf(self.signals.latest):
                os.kill(os.getpid(), signal.SIGTERM)
                return


def main(arguments: list[str]) -> int:
    signal.signal = signals = OneSignal()
    stopped_file = StoppedFile(Path(os.environ["GNNREC_STOPPED_FILE"]), signals)
    for number in SIGNALS:
        signal.signal(number, stop_before_start)
    signal.signal(signal.SIGUSR1, lambda number, frame: signal.raise_signal(signal.SIGTERM))

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import PContext, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    PContext.close = stopped_file.ignore_restarts(PContext.close)
    ended = threading.Event()
    threading.Thread(target=stopped_file.watch, args=(ended,), daemon=True).start()
    try:
        run.main(arguments)
        if "GNNREC_FINISHED_FILE" in os.environ:
            Path(os.environ["GNNREC_FINISHED_FILE"]).touch()
        return 0
    except SignalException as error:
        if not stopped_file.has_line():
            print(f"torchrun: ended by {error.sigval.name}, and no rank reported that it saved", file=sys.stderr)
            return 128 + error.sigval
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        for code in (BAD_INPUT, STOPPED):
            if code in codes and not stopped_file.has_line():
                return code
        # torchrun ends the other ranks of this node as soon as one of them has ended.
        if RANKS_LOST in codes and codes <= {RANKS_LOST, -signal.SIGTERM}:
            return RANKS_LOST
        if not stopped_file.has_line():
            raise
    except Exception:
        # The store ends with the first host, possibly before this one.
        if not stopped_file.has_line():
            raise
    finally:
        ended.set()
    return STOPPED


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as directory:
        os.environ.setdefault("GNNREC_STOPPED_FILE", os.path.join(directory, "stopped"))
        collect = ["--tee", "3"] if os.environ.get(TEMPLATE) else []
        # Its own directory in TMPDIR would be left behind.
        sys.exit(main(["--log-dir", directory, *collect, *sys.argv[1:]]))
