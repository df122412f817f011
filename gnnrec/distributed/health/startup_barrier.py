"""Barrier over the store before anything else: for all ranks of this start, and none of an earlier one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from gnnrec.errors import RanksLost

if TYPE_CHECKING:
    from torch.distributed import Store

#: Seconds between two looks at the store, and between two heartbeats of a rank that waits.
_PAUSE, _BEAT = 0.02, 1.0


class _Beats:
    """Heartbeats of ranks that wait for others to arrive.

    Args:
        store: The store of all ranks.
        rank: This rank.
        greeting: Unique name of this rank in this start.
        lost: A rank without a heartbeat for this many seconds is lost; 0 for no limit.
    """

    def __init__(self, store: Store, rank: int, greeting: str, lost: float):
        self.store, self.rank, self.greeting, self.lost = store, rank, greeting, lost
        self._number, self._next, self._looked = 0, 0.0, time.monotonic()
        self._latest: dict[int, bytes] = {}
        self._silence: dict[int, float] = {}

    def send(self) -> None:
        """Sends a heartbeat if one is due."""
        now = time.monotonic()
        if now >= self._next:
            self._next, self._number = now + _BEAT, self._number + 1
            self.store.set(f"beat/{self.rank}", f"{self.greeting} {self._number}")

    def watch(self, ranks: list[int]) -> None:
        """Raises :class:`RanksLost` if one of these ranks, which have arrived, has sent nothing for too long."""
        now = time.monotonic()
        if now < self._looked + _BEAT:
            return
        elapsed, self._looked = min(now - self._looked, 2 * _BEAT), now  # this process may have been stopped
        for other in ranks:
            key = f"beat/{other}"
            latest = self.store.get(key) if self.store.check([key]) else b""
            same = self._latest.get(other) == latest
            self._silence[other] = self._silence.get(other, 0.0) + elapsed if same else 0.0
            self._latest[other] = latest
            if 0 < self.lost < self._silence[other]:
                raise RanksLost(
                    f"rank {other} has sent no heartbeat for {self._silence[other]:.0f} s, before all ranks had joined"
                )


def startup_barrier(
    store: Store, rank: int, size: int, status: str, seconds: float, lost: float, check: Callable[[], None]
) -> str:
    """Waits until every rank has arrived.

    torchrun keeps one store over restarts, with the keys of dead ranks. The number of restarts does not tell the
    starts apart: a change of members is not counted, and a node that has just joined counts from 0. So each rank
    sends a unique greeting, and rank 0 answers every greeting with the name of this start.

    Args:
        store: The store of all ranks.
        rank: This rank.
        size: Number of ranks.
        status: Text that this rank writes to ``NAME/RANK`` for the others.
        seconds: Timeout of rank 0; the others wait a little longer, so that rank 0 fails first. 0 for no limit.
        lost: A rank that has arrived and sends no heartbeat for this many seconds is lost; 0 for no limit.
        check: Called repeatedly; it may end the wait by raising.

    Returns:
        A unique name of this start; keys that begin with it belong to this start alone.

    Raises:
        RanksLost: Some ranks did not arrive, or were lost while others had not.
    """
    started, greeting = time.monotonic(), uuid.uuid4().hex
    beats = _Beats(store, rank, greeting, lost)

    def pause(limit: float, problem: str, arrived: list[int]) -> None:
        check()
        beats.send()
        beats.watch(arrived)
        if seconds and time.monotonic() - started > limit:
            raise RanksLost(f"{problem} within {seconds:g} s after this rank")
        time.sleep(_PAUSE)

    if rank:
        store.set(f"greeting/{rank}", greeting)
        while not store.check([f"answer/{greeting}"]):
            pause(seconds + 10, "rank 0 did not start", [])
        name = store.get(f"answer/{greeting}").decode()
        store.set(f"{name}/{rank}", status)
        while not store.check([f"{name}/complete"]):
            pause(seconds + 10, "some ranks did not start", [0])
        return name
    name = greeting
    answered: dict[int, str] = {}
    store.set(f"{name}/0", status)
    missing = list(range(1, size))
    while missing:
        for other in missing:
            if store.check([f"greeting/{other}"]):
                received = store.get(f"greeting/{other}").decode()
                if answered.get(other) != received:
                    store.set(f"answer/{received}", name)
                    answered[other] = received
        missing = [other for other in missing if not store.check([f"{name}/{other}"])]
        if missing:
            arrived = [other for other in range(1, size) if other not in missing]
            pause(seconds, f"rank {', '.join(map(str, missing))} did not start", arrived)
    store.set(f"{name}/complete", "")
    return name
