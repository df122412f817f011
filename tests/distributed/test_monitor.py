"""The threads of the health monitor with a store in this process, and the cost of tracking a collective."""

from __future__ import annotations

import dataclasses
import sys
import timeit
from collections.abc import Callable

import pytest

from gnnrec.distributed.collectives import CollectiveStats, track_collective
from gnnrec.distributed.health import monitor as monitor_module
from gnnrec.distributed.health.diagnosis import RankStatus, Timeouts
from gnnrec.distributed.health.monitor import HealthMonitor

TIMEOUTS = Timeouts(lost=0.8, stall=1.6)


class Store:
    """A store that may stop answering; rank 1 sends heartbeats in it until ``beats`` is false."""

    def __init__(self) -> None:
        self.other, self.beats, self.answers = RankStatus("there", 1, entered=4), True, True
        self.own = RankStatus("here", 0).to_json()

    def clone(self) -> Store:
        return self

    def set(self, key: str, value: str) -> None:
        self.own = value

    def multi_get(self, keys: list[str]) -> list[str]:
        if not self.answers:
            raise RuntimeError("no answer")
        if self.beats:
            self.other = dataclasses.replace(self.other, beat=self.other.beat + 1)
        return [self.own, self.other.to_json()]


@pytest.fixture(autouse=True)
def fake_threads(fake_time, monkeypatch) -> None:
    """The threads of the monitor sleep in fake time."""
    monkeypatch.setattr(monitor_module, "threading", fake_time)


@pytest.fixture
def aborts(monkeypatch) -> list[str]:
    """Diagnoses with which the monitor would abort this process; here it does not."""
    diagnoses: list[str] = []
    monkeypatch.setattr(monitor_module, "abort", lambda program, rank, problem: diagnoses.append(problem))
    return diagnoses


@pytest.fixture
def diagnose(fake_time, aborts) -> Callable[..., str]:
    """A function that runs a monitor for some seconds and returns its diagnosis, empty if there is none."""

    def diagnose(seconds: float, store: Store, collective_stats: CollectiveStats, asynchronous: bool = False) -> str:
        monitor = HealthMonitor(store, "start", 0, 2, collective_stats, TIMEOUTS, asynchronous)
        monitor.start()
        deadline = fake_time.now + seconds
        while fake_time.now < deadline and not aborts:
            fake_time.sleep(0.1)
        store.other = dataclasses.replace(store.other, left="done")
        monitor.leave()
        return aborts[0] if aborts else ""

    return diagnose


def inside(number: int = 5) -> CollectiveStats:
    """Statistics of a rank that has entered a collective and not left it."""
    collective_stats = CollectiveStats(entered=number - 1)
    track_collective(collective_stats, "gather").__enter__()
    return collective_stats


def test_a_rank_without_heartbeat_is_lost_even_if_no_rank_waits(diagnose, fake_time):
    store = Store()
    store.beats = False
    assert "rank 1 (host there, pid 1," in diagnose(5, store, CollectiveStats())
    assert TIMEOUTS.lost < fake_time.now < TIMEOUTS.lost + 0.5


def test_a_rank_with_heartbeats_is_not_lost(diagnose):
    assert diagnose(20, Store(), CollectiveStats()) == ""


def test_a_rank_behind_has_stalled_after_the_timeout(diagnose, fake_time):
    assert "has kept the others waiting for 2 s (gather 5 for 2 s" in diagnose(5, Store(), inside(5))
    assert TIMEOUTS.stall < fake_time.now < TIMEOUTS.stall + 0.5


def test_a_rank_in_as_many_collectives_is_not_behind(diagnose):
    assert diagnose(20, Store(), inside(4)) == ""


@pytest.mark.parametrize(("entered", "expected"), [(5, "has kept the others waiting"), (4, "")])
def test_asynchronous_collectives_are_compared_by_their_number(diagnose, entered, expected):
    diagnosis = diagnose(20, Store(), CollectiveStats(entered=entered), asynchronous=True)
    assert expected in diagnosis and bool(diagnosis) == bool(expected)


def test_a_lost_store_aborts_only_ranks_that_wait(diagnose, fake_time, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "first-node")
    for collective_stats, waits in ((CollectiveStats(entered=4), False), (inside(4), True)):
        store = Store()
        fake_time.Thread(lambda store=store: (fake_time.sleep(0.3), setattr(store, "answers", False))).start()
        diagnosis = diagnose(20, store, collective_stats)
        assert ("the rendezvous store on first-node:" in diagnosis) == waits == bool(diagnosis)


def test_time_while_this_process_was_stopped_does_not_count(aborts, fake_time):
    """The clock jumps, as it does over SIGSTOP and SIGCONT of a whole job."""
    store = Store()
    monitor = HealthMonitor(store, "start", 0, 2, inside(5), TIMEOUTS, False)
    monitor.start()
    fake_time.sleep(0.4)
    fake_time.now += 1000
    store.beats = False  # the other rank takes longer to continue
    fake_time.sleep(0.3)
    store.beats = True
    fake_time.sleep(0.3)
    assert aborts == []
    store.other = dataclasses.replace(store.other, left="done")
    monitor.leave()


@pytest.mark.timing
def test_tracking_a_collective_is_cheap():
    """A gloo all-reduce takes 50 microseconds and more."""
    collective_stats = CollectiveStats()

    def collective() -> None:
        with track_collective(collective_stats, "all-reduce"):
            pass

    seconds = min(timeit.repeat(collective, number=2000, repeat=5)) / 2000
    print(f"{1e9 * seconds:.0f} ns", file=sys.stderr)
    assert seconds < 10e-6
    assert collective_stats.entered == 10_000 and not collective_stats.open
