"""The barrier of one start, with the keys of earlier starts in the store."""

from __future__ import annotations

import re

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
        names[rank] = startup_barrier(store, rank, SIZE, f"status of {rank}", seconds=20, lost=5, check=lambda: None)

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
        startup_barrier(store, 0, SIZE, "", seconds=0.2, lost=5, check=lambda: None)


def test_a_stop_request_ends_the_wait():
    def stop() -> None:
        raise Stopped("by SIGTERM")

    for rank in (0, 1):
        with pytest.raises(Stopped):
            startup_barrier(HashStore(), rank, SIZE, "", seconds=20, lost=5, check=stop)


def test_a_rank_that_dies_before_the_others_have_joined_is_named(fake_time):
    store, problems = HashStore(), {}

    def arrive(rank: int, check) -> None:
        try:
            startup_barrier(store, rank, SIZE, "", seconds=600, lost=5, check=check)
        except RanksLost as problem:
            problems[rank] = str(problem), fake_time.monotonic()
        except SystemExit:
            pass

    def killed() -> None:
        if fake_time.monotonic() > 3:
            raise SystemExit

    threads = [fake_time.Thread(target=arrive, args=arguments) for arguments in ((0, lambda: None), (1, killed))]
    for thread in threads:  # rank 2 never starts
        thread.start()
    for thread in threads:
        thread.join()
    text, when = problems[0]
    assert re.match(r"rank 1 has sent no heartbeat for [56] s, before all ranks had joined", text)
    assert 8 < when < 12


def test_rank_0_that_dies_before_the_others_have_joined_is_named(fake_time):
    store, problems = HashStore(), {}

    def killed() -> None:
        if fake_time.monotonic() > 3:
            raise SystemExit

    def arrive(rank: int, check) -> None:
        try:
            startup_barrier(store, rank, SIZE, "", seconds=600, lost=5, check=check)
        except RanksLost as problem:
            problems[rank] = str(problem)
        except SystemExit:
            pass

    threads = [fake_time.Thread(target=arrive, args=arguments) for arguments in ((0, killed), (1, lambda: None))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(problems) == [1]
    assert re.fullmatch(r"rank 0 has sent no heartbeat for [56] s, before all ranks had joined", problems[1])
