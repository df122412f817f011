"""Barrier over the store before anything else: for all ranks of this start, and none of an earlier one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from gnnrec.errors import RanksLost

if TYPE_CHECKING:
    from torch.distributed import Store

_PAUSE = 0.02


def startup_barrier(store: Store, rank: int, size: int, status: str, seconds: float, check: Callable[[], None]) -> str:
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
        check: Called repeatedly; it may end the wait by raising.

    Returns:
        A unique name of this start; keys that begin with it belong to this start alone.

    Raises:
        RanksLost: Some ranks did not arrive.
    """
    started = time.monotonic()

    def pause(limit: float, problem: str) -> None:
        check()
        if seconds and time.monotonic() - started > limit:
            raise RanksLost(f"{problem} within {seconds:g} s after this rank")
        time.sleep(_PAUSE)

    greeting = uuid.uuid4().hex
    if rank:
        store.set(f"greeting/{rank}", greeting)
        while not store.check([f"answer/{greeting}"]):
            pause(seconds + 10, "rank 0 did not start")
        name = store.get(f"answer/{greeting}").decode()
        store.set(f"{name}/{rank}", status)
        while not store.check([f"{name}/complete"]):
            pause(seconds + 10, "some ranks did not start")
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
            pause(seconds, f"rank {', '.join(map(str, missing))} did not start")
    store.set(f"{name}/complete", "")
    return name
