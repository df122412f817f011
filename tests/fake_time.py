"""Time that passes only while a test sleeps, so that no result depends on how busy the machine is."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist


class FakeTime:
    """A clock, and threads that share it. One thread runs at a time; the clock jumps to the next one that wakes up.

    Stands in for the functions of the module ``time`` and for the classes of the module ``threading``.

    Attributes:
        now: Seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._condition = threading.Condition()
        self._running = threading.current_thread()
        self._sleeping: dict[threading.Thread, tuple[float, int]] = {}
        self._order = itertools.count()

    def install(self, patch: Callable[[Any, str, Any], None] = setattr) -> FakeTime:
        """Takes the place of the module ``time`` in all modules of gnnrec, for good or by ``monkeypatch.setattr``.

        The clock of other packages goes on: the standard library sleeps while it waits for processes.
        """
        for name, module in list(sys.modules.items()):
            if name.startswith("gnnrec.") and getattr(module, "time", None) is time:
                patch(module, "time", self)
        return self

    def __getattr__(self, name: str) -> Any:
        """Dates and formats are the real ones."""
        return getattr(time, name)

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets the other threads run until it is so many seconds later."""
        thread = threading.current_thread()
        with self._condition:
            self._wake(thread, self.now + seconds)
            self._next()
            self._condition.wait_for(lambda: self._running is thread)

    def _wake(self, thread: threading.Thread, when: float) -> None:
        self._sleeping[thread] = when, next(self._order)

    def _next(self) -> None:
        """Hands over to the thread that wakes up first."""
        self._running = min(self._sleeping, key=self._sleeping.__getitem__)
        self.now = max(self.now, self._sleeping.pop(self._running)[0])
        self._condition.notify_all()

    def current_thread(self) -> threading.Thread:
        return threading.current_thread()

    def Event(self) -> FakeEvent:  # noqa: N802, it is the name in ``threading``
        return FakeEvent(self)

    def Thread(self, target: Callable[..., Any], args: tuple = (), daemon: bool = True) -> FakeThread:  # noqa: N802
        return FakeThread(self, target, args)


class FakeEvent:
    """A ``threading.Event`` of a fake time."""

    def __init__(self, fake_time: FakeTime) -> None:
        self._time, self._set = fake_time, False
        self._waiting: list[threading.Thread] = []

    def is_set(self) -> bool:
        return self._set

    def clear(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True
        for thread in self._waiting:
            if thread in self._time._sleeping:
                self._time._wake(thread, self._time.now)

    def wait(self, timeout: float) -> bool:
        if not self._set:
            thread = threading.current_thread()
            self._waiting.append(thread)
            self._time.sleep(timeout)
            self._waiting.remove(thread)
        return self._set


class FakeThread(threading.Thread):
    """A thread that runs when its fake time lets it."""

    def __init__(self, fake_time: FakeTime, target: Callable[..., Any], args: tuple) -> None:
        super().__init__(target=target, args=args, daemon=True)
        self._time, self._ended = fake_time, FakeEvent(fake_time)

    def start(self) -> None:
        with self._time._condition:
            self._time._wake(self, self._time.now)
        super().start()

    def run(self) -> None:
        with self._time._condition:
            self._time._condition.wait_for(lambda: self._time._running is self)
        try:
            super().run()
        finally:
            with self._time._condition:
                self._ended.set()
                self._time._next()

    def join(self, timeout: float = float("inf")) -> None:  # type: ignore[override]
        self._ended.wait(timeout)


def share_time(fake_time: FakeTime) -> None:
    """Makes all-reduces of tensors end at the same fake time on all ranks: that of the rank which came last.

    For the whole of this process, which must be a rank. The all-reduces themselves are real, and take no time.
    """
    all_reduce = dist.all_reduce

    def wait_for_others() -> None:
        latest = torch.tensor([fake_time.now], dtype=torch.float64)
        all_reduce(latest, op=dist.ReduceOp.MAX)
        fake_time.now = latest.item()

    class Work:
        """DDP takes the future of its gradients, which ends at the same time on all ranks; votes take no time."""

        def __init__(self, tensor: torch.Tensor, work: dist.Work) -> None:
            self.tensor, self.work = tensor, work

        def wait(self) -> None:
            self.work.wait()

        def get_future(self) -> torch.futures.Future:
            self.work.wait()
            wait_for_others()
            future: torch.futures.Future = torch.futures.Future()
            future.set_result([self.tensor])
            return future

    def timed(tensor: torch.Tensor, *args: Any, async_op: bool = False, **options: Any) -> Work | None:
        work = all_reduce(tensor, *args, async_op=async_op, **options)
        if async_op:
            return Work(tensor, work)
        wait_for_others()
        return None

    dist.all_reduce = timed
