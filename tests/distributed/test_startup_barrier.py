"""The barrier of one start, with the keys of earlier starts in the store."""

from __future__ import annotations

import pytest
from torch.distributed import HashStore

from gnnrec.distributed.health.startup_barrier import startup_barrier
from gnnrec.errors import RanksLost, Stopped
from tests.fake_time import FakeTime

SIZE = 3


def start_all(fake_time: FakeTime, store: HashStore, pauses: list[float]) -> list[str]:
    """One start in which each rank arrives after its pause; returns the names that the ranks received."""
    names = [""] * SIZE

    def arrive(rank: int) -> None:
        fake_time.sleep(pauses[rank])
        names[rank] = startup_barrier(store, rank, SIZE, f"status of {rank}", seconds=20, check=lambda: None)

    threads = [fake_time.Thread(target=arrive, args=(rank,)) for rank in range(SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names


def test_every_start_has_a_unique_name(fake_time):
    store, seen = HashStore(), set()
    for pauses in ([0, 0.2, 0.1], [0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]):
        names = start_all(fake_time, store, pauses)
        assert len(set(names)) == 1 and names[0] not in seen
        assert [store.get(f"{names[0]}/{rank}").decode() for rank in range(SIZE)] == [
            f"status of {rank}" for rank in range(SIZE)
        ]
        seen.add(names[0])


def test_ranks_that_do_not_start_are_named(fake_time):
    store = HashStore()
    start_all(fake_time, store, [0, 0, 0])  # leaves greetings of dead ranks
    with pytest.raises(RanksLost, match=r"rank 1, 2 did not start within 0\.2 s"):
        startup_barrier(store, 0, SIZE, "", seconds=0.2, check=lambda: None)


def test_a_stop_request_ends_the_wait():
    def stop() -> None:
        raise Stopped("by SIGTERM")

    for rank in (0, 1):
        with pytest.raises(Stopped):
            startup_barrier(HashStore(), rank, SIZE, "", seconds=20, check=stop)
