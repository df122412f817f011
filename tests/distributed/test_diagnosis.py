"""Diagnosis of lost and stalled ranks from their statuses: every rule, and states without a fault."""

from __future__ import annotations

import dataclasses

import pytest

from gnnrec.distributed.health.diagnosis import DONE, RankStatus, Timeouts, diagnose
from gnnrec.errors import UserError

TIMEOUTS = Timeouts(lost=60, stall=600)
INSIDE = RankStatus("a", 10, entered=7, waiting=1.0, doing="all-reduce 7 for 1 s at f.py:1")
BEHIND = RankStatus("b", 11, entered=6, doing="computing for 700 s at g.py:2")
LEFT = dataclasses.replace(BEHIND, left=DONE)


def diagnosis_of(
    others: list[RankStatus], silence: float = 0, waited: float = 0, timeouts: Timeouts = TIMEOUTS
) -> str | None:
    """Diagnosis of rank 0, which is inside collective 7, about the other ranks."""
    return diagnose(0, [INSIDE, *others], [0.0] + [silence] * len(others), waited, timeouts)


@pytest.mark.parametrize(
    ("others", "silence", "waited"),
    [
        ([INSIDE, INSIDE], 59, 1),  # a late heartbeat
        ([INSIDE, BEHIND], 0, 599),  # a slow rank
        ([LEFT], 10_000, 59),  # a rank that left sends no heartbeats
        ([dataclasses.replace(INSIDE, left=DONE)], 10_000, 10_000),  # it was in every collective of this rank
        ([BEHIND, BEHIND], 0, 0),  # no rank waits
    ],
)
def test_healthy_states_have_no_diagnosis(others, silence, waited):
    assert diagnosis_of(others, silence, waited) is None


def test_timeouts_of_zero_never_expire():
    assert diagnosis_of([BEHIND, INSIDE], 1e9, 1e9, Timeouts(lost=0, stall=0)) is None


def test_a_silent_rank_is_lost_whatever_this_rank_does():
    diagnosis = diagnosis_of([BEHIND], silence=61)
    assert diagnosis == "rank 1 (host b, pid 11, last computing for 700 s at g.py:2) has sent no heartbeat for 61 s"


def test_the_rank_that_is_furthest_behind_has_stalled():
    further = dataclasses.replace(BEHIND, pid=12, entered=5, doing="computing for 800 s at h.py:3")
    diagnosis = diagnosis_of([BEHIND, further], waited=601)
    assert diagnosis.startswith(
        "rank 2 (host b, pid 12, computing for 800 s at h.py:3) has kept the others waiting for 601 s"
    )
    assert INSIDE.doing in diagnosis and "rank 1" not in diagnosis


def test_a_rank_that_left_is_named_with_its_reason():
    assert diagnosis_of([INSIDE, LEFT], waited=61) == f"rank 2 (host b, pid 11) has left ({DONE})"
    failed = dataclasses.replace(LEFT, pid=12, left="KeyError: 'a'")
    assert diagnosis_of([LEFT, failed], waited=61) == (
        f"rank 1 (host b, pid 11) has left ({DONE}), rank 2 (host b, pid 12) has left (KeyError: 'a')"
    )


def test_a_diagnosis_spreads_to_ranks_that_do_not_wait():
    diagnosis = diagnosis_of([INSIDE, dataclasses.replace(INSIDE, diagnosis="rank 5 has stalled")])
    assert diagnosis == "rank 5 has stalled"


def test_ranks_that_all_wait_in_the_same_number_of_collectives_are_named():
    waiting = dataclasses.replace(INSIDE, waiting=601.0)
    diagnosis = diagnose(0, [waiting, dataclasses.replace(waiting, doing="gather 7")], [0.0, 0.0], 601, TIMEOUTS)
    assert "all-reduce 7" in diagnosis and "gather 7" in diagnosis
    assert diagnose(0, [waiting, dataclasses.replace(waiting, waiting=0.0)], [0.0, 0.0], 601, TIMEOUTS) is None


def test_many_ranks_stay_one_short_line():
    diagnosis = diagnosis_of([BEHIND] * 100, silence=61)
    assert "rank 4 " in diagnosis and "rank 5 " not in diagnosis and "and 96 more" in diagnosis


def test_a_status_is_read_back_from_json():
    assert RankStatus.from_json(BEHIND.to_json()) == BEHIND == RankStatus.from_json(BEHIND.to_json().encode())


def test_timeouts_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("GNNREC_LOST_SECONDS", "2.5")
    monkeypatch.delenv("GNNREC_STALL_SECONDS", raising=False)
    assert Timeouts.from_environment() == Timeouts(2.5, 600)
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("GNNREC_STALL_SECONDS", wrong)
        with pytest.raises(UserError, match=f"GNNREC_STALL_SECONDS={wrong}: must be a number of seconds"):
            Timeouts.from_environment()
