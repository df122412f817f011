"""Requests to stop. Signals and time limits only set a flag; loops check it where all ranks can stop together."""

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
    """Records whether this process was asked to stop."""

    def __init__(self) -> None:
        self._signal = 0
        self._deadline = math.inf

    def listen(self) -> None:
        """Handles signals from now on. Repeated ones change nothing: torchrun and SLURM send several.

        Python delivers signals to the main thread only, so this does nothing in other threads.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            signal.signal(number, self._record)

    def limit(self, minutes: float) -> None:
        """Requests a stop in this many minutes; 0 for no limit."""
        self._deadline = time.monotonic() + 60 * minutes if minutes else math.inf

    @property
    def code(self) -> int:
        """Code of the request, explained by :func:`reason`; 0 without one."""
        return self._signal or (_TIME_LIMIT if time.monotonic() > self._deadline else 0)

    def _record(self, number: int, frame: object) -> None:
        # A second Ctrl-C interrupts at once. Under torchrun the second signal comes from torchrun.
        if number == self._signal == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        self._signal = self._signal or number


def reason(code: int) -> str:
    """Source of a stop request: ``SIGTERM`` or ``--max-minutes``."""
    return "--max-minutes" if code == _TIME_LIMIT else signal.Signals(code).name
