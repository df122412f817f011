"""Ranks watch each other, so that none waits for ever for one that died or stalls."""

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
    diagnose,
    gone,
    not_heard_of,
    over,
    whereabouts,
)
from gnnrec.errors import RANKS_LOST_EXIT_CODE

if TYPE_CHECKING:
    from torch.distributed import Store

    from gnnrec.distributed.collectives import CollectiveStats

#: What to do about it, behind every sentence that names lost ranks.
WAY_OUT = "start again (train_dist.py: with --resume auto)"

#: What is told of lost ranks before this process ends at once, and the seconds that it has for that.
_abort_hooks: list[Callable[[str], None]] = []
_ABORT_HOOK_SECONDS = 10

#: Seconds where the user set no limit and some is needed.
_LONG = 60


def abort(program: str, rank: int, problem: str) -> None:
    """Prints one line and ends this process: threads and C++ code that wait for other ranks cannot be unwound."""
    os.write(2, f"{program}: rank {rank}: {problem}; {WAY_OUT}\n".encode())
    for tell in _abort_hooks:
        thread = threading.Thread(target=tell, args=(problem,), daemon=True)
        thread.start()
        thread.join(_ABORT_HOOK_SECONDS)
    os._exit(RANKS_LOST_EXIT_CODE)


def register_abort_hook(tell: Callable[[str], None] | None) -> None:
    """Has a function called with the problem when ranks are lost; it takes the place of the one before."""
    _abort_hooks[:] = [tell] if tell is not None else []


def program_name() -> str:
    """As the user knows this program."""
    name = Path(sys.argv[0]).name
    return "gnnrec" if name in ("__main__.py", "") else name


class HealthMonitor:
    """Two threads of this rank. One speaks to the store and hears the others there; it may hang with the store.

    The other one only looks at what was heard, and ends this process when ranks are lost. What counts is time that
    was watched: while this process was stopped itself, it learnt nothing about the others.

    Args:
        store: Of all ranks.
        name: Of this start (:func:`gnnrec.distributed.health.startup_barrier.startup_barrier`); every rank has left
            :class:`RankStatus` under ``NAME/RANK``.
        rank: This rank.
        size: Number of ranks.
        collective_stats: Tells which collectives this rank is in.
        limits: Patience.
        asynchronous: Collectives return at once (NCCL). A rank then counts as waiting when it enters no further one.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        rank: int,
        size: int,
        collective_stats: CollectiveStats,
        limits: Timeouts,
        asynchronous: bool,
    ) -> None:
        self.rank, self.collective_stats, self.limits, self.asynchronous = rank, collective_stats, limits, asynchronous
        # Many ranks must not keep the store busy with size * size reads; words must not be old beside a limit.
        self.period = min(max(2.0, size / 50), (limits.lost or _LONG) / 10, (limits.stall or _LONG) / 10)
        self._origin: Any = store  # torch's types leave out that it can be cloned
        self._keys = [f"{name}/{each}" for each in range(size)]
        self._me = RankStatus.from_this_process()
        self._heard = [RankStatus.parse(words) for words in store.multi_get(self._keys)]
        self._serves_store = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self._exchanges = 0
        self._silence, self._store_silence, self._patience = [0.0] * size, 0.0, 0.0
        self._wake, self._ended, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._exchange, self._check_loop)]

    def start(self) -> None:
        """Begins to speak and to listen."""
        for thread in self._threads:
            thread.start()

    def leave(self, how: str = DONE, diagnosis: str = "") -> None:
        """Tells the others that this rank goes, and ends the threads.

        Args:
            how: :data:`~gnnrec.distributed.health.diagnosis.DONE` or an error.
            diagnosis: Whom this rank has found lost.
        """
        if self._ended.is_set():
            return
        self._me = dataclasses.replace(self._me, left=how, diagnosis=diagnosis)
        self._ending.set()
        self._wake.set()
        if self._serves_store:
            self._wait_for_others(math.inf if how == DONE else 3 * self.period)
        self._ended.set()
        self._wake.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                # With the store gone there is nobody to tell.
                thread.join(timeout=2)

    def _wait_for_others(self, seconds: float) -> None:
        """The store ends with this process: the others need it until they have left, or are lost themselves."""
        deadline, limit = time.monotonic() + seconds, self.limits.lost or _LONG
        while time.monotonic() < deadline and self._store_silence < limit:
            heard = self._heard
            others = [each for each in range(len(heard)) if each != self.rank]
            if all(heard[each].left or self._silence[each] > limit for each in others):
                return
            time.sleep(self.period / 8)

    def explain(self) -> str | None:
        """Finds out which rank made a collective fail, within seconds. From now on the threads end nothing.

        Returns:
            A sentence that names it; None when everybody is there.
        """
        self._ending.set()
        self._wake.set()
        unusual = max(1.5 * self.period, 1.0)
        deadline = time.monotonic() + unusual + self.period + 1
        others = [each for each in range(len(self._heard)) if each != self.rank]
        while time.monotonic() < deadline:
            heard = self._heard
            left = [each for each in others if heard[each].left]
            diagnosis = next((words.diagnosis for words in heard if words.diagnosis), None)
            if diagnosis or left:
                return diagnosis or gone(left, heard)
            if any(self._silence[each] > unusual for each in others):
                # The rest of its node went with it.
                time.sleep(self.period / 2)
                silent = [each for each in others if self._silence[each] > unusual]
                return not_heard_of(silent, self._heard, self._silence) if silent else None
            time.sleep(self.period / 8)
        return self._about_store() if self._store_silence > unusual else None

    def _exchange(self) -> None:
        store, beat, last_heard = None, 0, time.monotonic()
        while True:
            last, beat = self._ended.is_set(), beat + 1
            try:
                if store is None:
                    # A client is blocked while it waits: the process group's own would hold this thread up.
                    store = self._origin.clone()
                store.set(self._keys[self.rank], self._words(beat).text())
                heard, now = [RankStatus.parse(words) for words in store.multi_get(self._keys)], time.monotonic()
                elapsed, last_heard = min(now - last_heard, 2 * self.period), now
                for each, (before, words) in enumerate(zip(self._heard, heard)):
                    self._silence[each] = self._silence[each] + elapsed if words == before else 0.0
                self._heard, self._exchanges = heard, self._exchanges + 1
            except RuntimeError:  # of every kind of store, when it does not answer
                store = None
            if last:
                return
            self._wake.wait(self.period / 8 if self._ending.is_set() else self.period)
            self._wake.clear()

    def _words(self, beat: int) -> RankStatus:
        inside, now = self._inside(), time.perf_counter()
        if inside:
            number, (name, since) = inside
            doing = f"{name} {number} for {now - since:.0f} s"
        else:
            doing = f"computing for {now - self.collective_stats.changed:.0f} s"
        return dataclasses.replace(
            self._me,
            beat=beat,
            entered=self.collective_stats.entered,
            waiting=self._patience if inside else 0.0,
            doing=f"{doing} at {whereabouts()}",
        )

    def _inside(self) -> tuple[int, tuple[str, float]] | None:
        """The first of the collectives that this rank has entered and not left."""
        return next(iter(list(self.collective_stats.open.items())), None)

    def _check_loop(self) -> None:
        last, exchanges, before = time.monotonic(), 0, None
        while not self._ended.wait(self.period / 8):
            now = time.monotonic()
            elapsed, last = min(now - last, 2 * self.period), now
            same, exchanges = self._exchanges == exchanges, self._exchanges
            self._store_silence = self._store_silence + elapsed if same else 0.0
            inside = self._inside()
            # On the CPU the very collective, on GPUs how many there were.
            mark = inside[0] if inside else (-self.collective_stats.entered if self.asynchronous else None)
            self._patience = self._patience + elapsed if mark is not None and mark == before else 0.0
            before = mark
            if not self._ending.is_set():
                diagnosis = self._diagnosis(surely_waiting=inside is not None)
                if diagnosis:
                    self.leave("lost the others", diagnosis)
                    abort(program_name(), self.rank, diagnosis)

    def _diagnosis(self, surely_waiting: bool) -> str | None:
        words, patience = list(self._heard), self._patience
        words[self.rank] = self._words(0)
        # The store of a job that ends may go before its last rank, which needs it only when it needs the others.
        enough = self.limits.lost if surely_waiting else self.limits.stall
        if over(self._store_silence, self.limits.lost) and over(patience, enough):
            return f"{self._about_store()} for {self._store_silence:.0f} s"
        return diagnose(self.rank, words, self._silence, patience, self.limits)

    def _about_store(self) -> str:
        where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        whose = "torchrun's" if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else "rank 0's"
        return f"the rendezvous store on {where} ({whose}) does not answer"
