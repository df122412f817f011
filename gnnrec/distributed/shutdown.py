"""Being told to stop. Signals and time limits only leave a note; loops ask for it where all ranks can stop together."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

#: Signals that ask for a stop: torchrun, SLURM and ``kill`` send SIGTERM, SLURM USR1 on request, a keyboard SIGINT.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
#: Code of the time limit; those of signals are their numbers.
_TIME_LIMIT = 255


class StopRequest:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self._signal = 0
        self._deadline = math.inf

    def listen(self) -> None:
        """Takes signals from now on. Further ones change nothing: torchrun and SLURM send several.

        Python gives signals to the main thread alone; in another one there is nothing to take.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            signal.signal(number, self._note)

    def limit(self, minutes: float) -> None:
        """Asks for a stop after so many minutes from now; 0 for no limit."""
        self._deadline = time.monotonic() + 60 * minutes if minutes else math.inf

    @property
    def code(self) -> int:
        """0 while nothing was asked for, else what :func:`reason` explains."""
        return self._signal or (_TIME_LIMIT if time.monotonic() > self._deadline else 0)

    def _note(self, number: int, frame: object) -> None:
        # A second Ctrl-C means it. Under torchrun it is torchrun that repeats the signal.
        if number == self._signal == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        self._signal = self._signal or number


def reason(code: int) -> str:
    """What asked for a stop: ``SIGTERM`` or ``--max-minutes``."""
    return "--max-minutes" if code == _TIME_LIMIT else signal.Signals(code).name
