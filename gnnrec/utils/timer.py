"""Timer for intervals on the CPU or a GPU that never synchronizes the device."""

from __future__ import annotations

import time
from collections import deque

import torch


class Timer:
    """Adds up the seconds between its starts and stops.

    A GPU runs asynchronously, so CUDA events mark where an interval begins and ends, and intervals that the GPU has
    not finished are counted later: nothing waits. As a context manager the timer is reentrant.

    Args:
        cuda: Time intervals on a GPU, in the current stream.
    """

    def __init__(self, cuda: bool = False) -> None:
        self.cuda = cuda
        self._seconds, self._depth = 0.0, 0
        self._pending: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    def start(self) -> float | torch.cuda.Event:
        """Begins an interval and returns the token for :meth:`stop`."""
        return _event() if self.cuda else time.perf_counter()

    def stop(self, started: float | torch.cuda.Event) -> None:
        """Ends an interval; may be called from any thread."""
        if isinstance(started, float):
            self._seconds += time.perf_counter() - started
        else:
            self._pending.append((started, _event()))

    @property
    def seconds(self) -> float:
        """Total seconds of all finished intervals."""
        while self._pending and self._pending[0][1].query():
            started, ended = self._pending.popleft()
            self._seconds += started.elapsed_time(ended) / 1e3
        return self._seconds

    def __enter__(self) -> Timer:
        if self._depth == 0:
            self._started = self.start()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.stop(self._started)


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
