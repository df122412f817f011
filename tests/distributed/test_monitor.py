"""The threads of the watch, against a store in this process; and what it costs to note a collective."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
import timeit

import pytest

from gnnrec.distributed.collectives import CollectiveStats, track_collective
from gnnrec.distributed.health import monitor as monitor_module
from gnnrec.distributed.health.diagnosis import RankStatus, Timeouts
from gnnrec.distributed.health.monitor import HealthMonitor

LIMITS = Timeouts(lost=0.8, stall=1.6)


class Store:
    """A dictionary that may stop to answer; rank 1 beats in it as long as it is asked to."""

    def __init__(self) -> None:
        self.other, self.beats, self.answers = RankStatus("there", 1, entered=4), True, True
        self.mine = RankStatus("here", 0).text()

    def clone(self) -> Store:
        return self

    def set(self, key: str, value: str) -> None:
        self.mine = value

    def multi_get(self, keys: list[str]) -> list[str]:
        if not self.answers:
            raise RuntimeError("no answer")
        if self.beats:
            self.other = dataclasses.replace(self.other, beat=self.other.beat + 1)
        return [self.mine, self.other.text()]


@pytest.fixture
def ended(monkeypatch) -> list[str]:
    """What the watch said when it ended this process, which it does not here."""
    said: list[str] = []
    monkeypatch.setattr(monitor_module, "abort", lambda program, rank, problem: said.append(problem))
    return said


def watch_for(
    seconds: float, store: Store, collective_stats: CollectiveStats, ended: list[str], asynchronous: bool = False
) -> str:
    """What the watch says within some seconds; nothing if it stays quiet."""
    watch = HealthMonitor(store, "start", 0, 2, collective_stats, LIMITS, asynchronous)
    watch.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not ended:
        time.sleep(0.02)
    store.other = dataclasses.replace(store.other, left="done")
    watch.leave()
    return ended[0] if ended else ""


def inside(number: int = 5) -> CollectiveStats:
    collective_stats = CollectiveStats(entered=number - 1)
    track_collective(collective_stats, "gather").__enter__()
    return collective_stats


def test_a_rank_without_heartbeat_is_lost_also_while_nobody_waits(ended):
    store = Store()
    store.beats = False
    assert "rank 1 (host there, pid 1)" in watch_for(5, store, CollectiveStats(), ended)


def test_a_rank_that_beats_is_not_lost(ended):
    assert watch_for(1.5, Store(), CollectiveStats(), ended) == ""


def test_a_rank_behind_is_waited_for_until_the_limit(ended):
    began = time.monotonic()
    assert "keeps the others waiting for 2 s (gather 5 for 2 s" in watch_for(5, Store(), inside(5), ended)
    assert time.monotonic() - began > LIMITS.stall


def test_ranks_in_as_many_collectives_are_not_behind(ended):
    assert watch_for(2.5, Store(), inside(4), ended) == ""


@pytest.mark.parametrize(("entered", "diagnosis"), [(5, "keeps the others waiting"), (4, "")])
def test_collectives_that_return_at_once_are_judged_by_their_number(ended, entered, diagnosis):
    found = watch_for(2.5, Store(), CollectiveStats(entered=entered), ended, asynchronous=True)
    assert diagnosis in found and bool(found) == bool(diagnosis)


def test_a_lost_store_matters_to_ranks_that_wait(ended, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "first-node")
    for collective_stats, diagnosis in ((CollectiveStats(entered=4), False), (inside(4), True)):
        store = Store()
        threading.Timer(0.3, setattr, (store, "answers", False)).start()
        found = watch_for(2.5, store, collective_stats, ended)
        assert ("the rendezvous store on first-node:" in found) == diagnosis == bool(found)


def test_time_that_this_process_was_stopped_is_not_the_silence_of_others(ended, monkeypatch):
    """The clock jumps, as it does over SIGSTOP and SIGCONT of a whole job."""
    jump = [0.0]
    real = time.monotonic
    monkeypatch.setattr(monitor_module.time, "monotonic", lambda: real() + jump[0])
    threading.Timer(0.4, jump.__setitem__, (0, 1000.0)).start()
    store, began = Store(), real()
    watch = HealthMonitor(store, "start", 0, 2, inside(5), LIMITS, False)
    watch.start()
    while real() - began < 1.0:
        time.sleep(0.02)
    assert ended == []
    store.other = dataclasses.replace(store.other, left="done")
    watch.leave()


def test_noting_a_collective_costs_next_to_nothing():
    """A gloo all-reduce takes 50 microseconds and more."""
    collective_stats = CollectiveStats()

    def collective() -> None:
        with track_collective(collective_stats, "all-reduce"):
            pass

    seconds = min(timeit.repeat(collective, number=2000, repeat=5)) / 2000
    print(f"{1e9 * seconds:.0f} ns", file=sys.stderr)
    assert seconds < 10e-6
    assert collective_stats.entered == 10_000 and not collective_stats.open
