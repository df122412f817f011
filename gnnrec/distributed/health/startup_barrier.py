"""Ranks meet at the store before anything else: all of this start, and none of an earlier one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from gnnrec.errors import RanksLost

if TYPE_CHECKING:
    from torch.distributed import Store

_PAUSE = 0.02


def startup_barrier(store: Store, rank: int, size: int, words: str, seconds: float, check: Callable[[], None]) -> str:
    """Waits until every rank has come.

    torchrun keeps one store over restarts, with the keys of ranks that are dead. The number of restarts does not tell
    the starts apart: a change of members is not counted, and a node that has just joined counts from 0. So each rank
    greets with a word that nobody used before, and rank 0 answers every greeting with the name of this start.

    Args:
        store: Of all ranks.
        rank: This rank.
        size: Number of ranks.
        words: What this rank leaves for the others to read under ``NAME/RANK``.
        seconds: Rank 0 waits so long at most; the others a little longer, for rank 0 to speak first. 0 for no limit.
        check: Called now and then; it may end the wait by raising.

    Returns:
        A name that this start has alone; keys that begin with it are its own.

    Raises:
        RanksLost: Some ranks did not come.
    """
    started = time.monotonic()

    def pause(limit: float, problem: str) -> None:
        check()
        if seconds and time.monotonic() - started > limit:
            raise RanksLost(f"{problem} within {seconds:g} s of this rank's start")
        time.sleep(_PAUSE)

    greeting = uuid.uuid4().hex
    if rank:
        store.set(f"greeting/{rank}", greeting)
        while not store.check([f"answer/{greeting}"]):
            pause(seconds + 10, "rank 0 did not come")
        name = store.get(f"answer/{greeting}").decode()
        store.set(f"{name}/{rank}", words)
        while not store.check([f"{name}/complete"]):
            pause(seconds + 10, "some ranks did not come")
        return name
    name = greeting
    answered: dict[int, str] = {}
    store.set(f"{name}/0", words)
    missing = list(range(1, size))
    while missing:
        for each in missing:
            if store.check([f"greeting/{each}"]):
                heard = store.get(f"greeting/{each}").decode()
                if answered.get(each) != heard:
                    store.set(f"answer/{heard}", name)
                    answered[each] = heard
        missing = [each for each in missing if not store.check([f"{name}/{each}"])]
        if missing:
            pause(seconds, f"rank {', '.join(map(str, missing))} did not come")
    store.set(f"{name}/complete", "")
    return name
