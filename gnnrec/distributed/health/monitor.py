"""Ranks monitor each other, so that none waits forever for one that died or stalls."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.distributed.health.diagnosis import (
    DONE,
    RankStatus,
    Timeouts,
    current_location,
    describe_departed,
    describe_silent,
    diagnose,
    exceeds,
)
from gnnrec.errors import RANKS_LOST_EXIT_CODE

if TYPE_CHECKING:
    from torch.distributed import Store

    from gnnrec.distributed.collectives import CollectiveStats

#: Advice that ends every message about lost ranks.
WAY_OUT = "restart the job (train_dist.py: with --resume auto)"

#: Functions called with the problem before this process ends because of lost ranks, and the seconds that each may take.
_abort_hooks: list[Callable[[str], None]] = []
_ABORT_HOOK_SECONDS = 10

#: Timeout in seconds where one is needed and the user set none.
_FALLBACK_SECONDS = 60


def abort(program: str, rank: int, problem: str) -> None:
    """Prints one line and ends this process: threads and C++ code that wait for other ranks cannot be unwound."""
    os.write(2, f"{program}: rank {rank}: {problem}; {WAY_OUT}\n".encode())
    for hook in _abort_hooks:
        thread = threading.Thread(target=hook, args=(problem,), daemon=True)
        thread.start()
        thread.join(_ABORT_HOOK_SECONDS)
    os._exit(RANKS_LOST_EXIT_CODE)


def register_abort_hook(hook: Callable[[str], None] | None) -> None:
    """Sets the function that :func:`abort` calls with the problem; it replaces the previous one."""
    _abort_hooks[:] = [hook] if hook is not None else []


def program_name() -> str:
    """Name of this program as users call it."""
    name = Path(sys.argv[0]).name
    return "gnnrec" if name in ("__main__.py", "") else name


class HealthMonitor:
    """Two threads of this rank. One exchanges statuses with the other ranks over the store and may hang with it.

    The other one only looks at the statuses received, and ends this process when ranks are lost. Only monitored time
    counts: while this process itself was stopped, it learned nothing about the others.

    Args:
        store: The store of all ranks.
        name: Name of this start (:func:`gnnrec.distributed.health.startup_barrier.startup_barrier`); every rank has
            written a :class:`RankStatus` to ``NAME/RANK``.
        rank: This rank.
        size: Number of ranks.
        collective_stats: The collectives that this rank is in.
        timeouts: Timeouts for the other ranks.
        asynchronous: Collectives return at once (NCCL). A rank then counts as waiting while it enters no further one.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        rank: int,
        size: int,
        collective_stats: CollectiveStats,
        timeouts: Timeouts,
        asynchronous: bool,
    ) -> None:
        self.rank, self.collective_stats, self.timeouts = rank, collective_stats, timeouts
        self.asynchronous = asynchronous
        # Many ranks must not overload the store with size * size reads; the period must be far below the timeouts.
        shortest = min(timeouts.lost or _FALLBACK_SECONDS, timeouts.stall or _FALLBACK_SECONDS)
        self.period = min(max(2.0, size / 50), shortest / 10)
        self._origin: Any = store  # torch's types leave out that it can be cloned
        self._keys = [f"{name}/{other}" for other in range(size)]
        self._own_status = RankStatus.of_this_process()
        self._statuses = [RankStatus.from_json(text) for text in store.multi_get(self._keys)]
        self._serves_store = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self._exchanges = 0
        self._silence, self._store_silence, self._waited = [0.0] * size, 0.0, 0.0
        self._wake, self._ended, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in (self._exchange, self._check_loop)]

    def start(self) -> None:
        """Starts both threads."""
        for thread in self._threads:
            thread.start()

    def leave(self, reason: str = DONE, diagnosis: str = "") -> None:
        """Reports to the other ranks that this one leaves, and ends the threads.

        Args:
            reason: :data:`~gnnrec.distributed.health.diagnosis.DONE` or an error.
            diagnosis: The diagnosis of this rank if it found lost ranks.
        """
        if self._ended.is_set():
            return
        self._own_status = dataclasses.replace(self._own_status, left=reason, diagnosis=diagnosis)
        self._ending.set()
        self._wake.set()
        if self._serves_store:
            self._wait_for_others(math.inf if reason == DONE else 3 * self.period)
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                # Without the store the thread may hang.
                thread.join(timeout=2)

    def _wait_for_others(self, seconds: float) -> None:
        """Keeps the store of this process until the other ranks have left or are lost."""
        deadline, limit = time.monotonic() + seconds, self.timeouts.lost or _FALLBACK_SECONDS
        while time.monotonic() < deadline and self._store_silence < limit:
            statuses = self._statuses
            others = [other for other in range(len(statuses)) if other != self.rank]
            if all(statuses[other].left or self._silence[other] > limit for other in others):
                return
            time.sleep(self.period / 8)

    def explain(self) -> str | None:
        """Finds the rank that made a collective fail, within seconds. From now on the threads do not end this process.

        Returns:
            A sentence that names it; None if all ranks are alive.
        """
        self._ending.set()
        self._wake.set()
        unusual = max(1.5 * self.period, 1.0)
        deadline = time.monotonic() + unusual + self.period + 1
        others = [other for other in range(len(self._statuses)) if other != self.rank]
        while time.monotonic() < deadline:
            statuses = self._statuses
            departed = [other for other in others if statuses[other].left]
            diagnosis = next((status.diagnosis for status in statuses if status.diagnosis), None)
            if diagnosis or departed:
                return diagnosis or describe_departed(departed, statuses)
            if any(self._silence[other] > unusual for other in others):
                # Other ranks of its node may have been lost with it.
                time.sleep(self.period / 2)
                silent = [other for other in others if self._silence[other] > unusual]
                return describe_silent(silent, self._statuses, self._silence) if silent else None
            time.sleep(self.period / 8)
        return self._describe_store() if self._store_silence > unusual else None

    def _exchange(self) -> None:
        store, beat, last_exchange = None, 0, time.monotonic()
        while True:
            last, beat = self._ended.is_set(), beat + 1
            try:
                if store is None:
                    # A client blocks while it waits, so this thread cannot share the process group's.
                    store = self._origin.clone()
                store.set(self._keys[self.rank], self._current_status(beat).to_json())
                statuses = [RankStatus.from_json(text) for text in store.multi_get(self._keys)]
                now = time.monotonic()
                elapsed, last_exchange = min(now - last_exchange, 2 * self.period), now
                for other, (before, status) in enumerate(zip(self._statuses, statuses)):
                    self._silence[other] = self._silence[other] + elapsed if status == before else 0.0
                self._statuses, self._exchanges = statuses, self._exchanges + 1
            except RuntimeError:  # raised by every kind of store that does not answer
                store = None
            if last:
                return
            self._wake.wait(self.period / 8 if self._ending.is_set() else self.period)
            self._wake.clear()

    def _current_status(self, beat: int) -> RankStatus:
        collective, now = self._open_collective(), time.perf_counter()
        if collective:
            number, (name, since) = collective
            doing = f"{name} {number} for {now - since:.0f} s"
        else:
            doing = f"computing for {now - self.collective_stats.changed:.0f} s"
        return dataclasses.replace(
            self._own_status,
            beat=beat,
            entered=self.collective_stats.entered,
            waiting=self._waited if collective else 0.0,
            doing=f"{doing} at {current_location()}",
        )

    def _open_collective(self) -> tuple[int, tuple[str, float]] | None:
        """The first collective that this rank has entered and not left: number, name and time of entry."""
        return next(iter(list(self.collective_stats.open.items())), None)

    def _check_loop(self) -> None:
        last, exchanges, before = time.monotonic(), 0, None
        while not self._ended.wait(self.period / 8):
            now = time.monotonic()
            elapsed, last = min(now - last, 2 * self.period), now
            same, exchanges = self._exchanges == exchanges, self._exchanges
            self._store_silence = self._store_silence + elapsed if same else 0.0
            collective = self._open_collective()
            # On CPUs the open collective, on GPUs the number of collectives so far.
            mark = collective[0] if collective else (-self.collective_stats.entered if self.asynchronous else None)
            self._waited = self._waited + elapsed if mark is not None and mark == before else 0.0
            before = mark
            if not self._ending.is_set():
                diagnosis = self._diagnosis(in_collective=collective is not None)
                if diagnosis:
                    self.leave("lost other ranks", diagnosis)
                    abort(program_name(), self.rank, diagnosis)

    def _diagnosis(self, in_collective: bool) -> str | None:
        statuses, waited = list(self._statuses), self._waited
        statuses[self.rank] = self._current_status(0)
        # At the end of a job the store may end before the last rank, which needs it only while it waits for others.
        limit = self.timeouts.lost if in_collective else self.timeouts.stall
        if exceeds(self._store_silence, self.timeouts.lost) and exceeds(waited, limit):
            return f"{self._describe_store()} for {self._store_silence:.0f} s"
        return diagnose(self.rank, statuses, self._silence, waited, self.timeouts)

    def _describe_store(self) -> str:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        owner = "torchrun's" if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else "rank 0's"
        return f"the rendezvous store on {address} ({owner}) does not answer"
