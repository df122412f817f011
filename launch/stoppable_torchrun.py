"""torchrun that can be told to stop: ``python stoppable_torchrun.py [torchrun options] PROGRAM [options]``.

Three things are different from torchrun itself:

* SLURM, and the shells between it and this process, pass one and the same signal on several times. torchrun takes a
  second one for impatience and leaves its ranks alone. Here those of the next seconds are the same signal.
* SIGUSR1, which ends torchrun, asks for a stop like SIGTERM.
* The exit code is 75 if the ranks stopped before their end and can go on later, and 2 if they complained about bad
  input; they have said so themselves, so there is no traceback. Without this, torchrun ends with 1.

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


def watch(stopped: Callable[[], bool], ended: threading.Event, signals: OneSignal) -> None:
    """Ends torchrun some seconds after its ranks said that they stop, unless it is about to end already."""
    while not stopped():
        if ended.wait(0.5):
            return
    if not ended.wait(ENDING) and math.isinf(signals.heard):
        os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> int:
    note = Path(os.environ["GNNREC_STOPPED_FILE"])
    note.unlink(missing_ok=True)  # of an earlier start

    def stopped() -> bool:
        return note.exists() and note.stat().st_size > 0

    signal.signal = signals = OneSignal()
    for number in SIGNALS:
        signal.signal(number, nothing_began)
    signal.signal(signal.SIGUSR1, lambda number, frame: signal.raise_signal(signal.SIGTERM))

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    ended = threading.Event()
    threading.Thread(target=watch, args=(stopped, ended, signals), daemon=True).start()
    try:
        run.main(arguments)
        if "GNNREC_FINISHED_FILE" in os.environ:
            Path(os.environ["GNNREC_FINISHED_FILE"]).touch()
        return 0
    except SignalException as error:
        if not stopped():
            print(f"torchrun: ended by {error.sigval.name}, and no rank said that it saved", file=sys.stderr)
            return 128 + error.sigval
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        for code in (BAD_INPUT, STOPPED):
            if code in codes and not stopped():
                return code
        if not stopped():
            raise
    except Exception:
        # The store of the first host is gone as soon as that has stopped.
        if not stopped():
            raise
    finally:
        ended.set()
    return STOPPED


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as own:
        os.environ.setdefault("GNNREC_STOPPED_FILE", os.path.join(own, "stopped"))
        sys.exit(main(sys.argv[1:]))
