"""Who counts as lost, by what ranks say: every rule, and what is no fault."""

from __future__ import annotations

import dataclasses

import pytest

from gnnrec.distributed.health.diagnosis import DONE, RankStatus, Timeouts, diagnose
from gnnrec.errors import UserError

LIMITS = Timeouts(lost=60, stall=600)
INSIDE = RankStatus("a", 10, entered=7, waiting=1.0, doing="all-reduce 7 for 1 s at f.py:1")
BEHIND = RankStatus("b", 11, entered=6, doing="computing for 700 s at g.py:2")
LEFT = dataclasses.replace(BEHIND, left=DONE)


def judged(others: list[RankStatus], silence: float = 0, patience: float = 0, limits: Timeouts = LIMITS) -> str | None:
    """What rank 0, inside collective 7, finds about the others."""
    return diagnose(0, [INSIDE, *others], [0.0] + [silence] * len(others), patience, limits)


@pytest.mark.parametrize(
    ("others", "silence", "patience"),
    [
        ([INSIDE, INSIDE], 59, 1),  # a late heartbeat
        ([INSIDE, BEHIND], 0, 599),  # a slow rank
        ([LEFT], 10_000, 59),  # one that left is silent for ever
        ([dataclasses.replace(INSIDE, left=DONE)], 10_000, 10_000),  # it was in every collective of this rank
        ([BEHIND, BEHIND], 0, 0),  # nobody waits
    ],
)
def test_no_fault(others, silence, patience):
    assert judged(others, silence, patience) is None


def test_no_limit_is_for_ever():
    assert judged([BEHIND, INSIDE], 1e9, 1e9, Timeouts(lost=0, stall=0)) is None


def test_a_silent_rank_is_lost_whatever_this_rank_does():
    found = judged([BEHIND], silence=61)
    assert found == "rank 1 (host b, pid 11), last computing for 700 s at g.py:2, has not been heard of for 61 s"


def test_the_rank_that_is_furthest_behind_stalls():
    further = dataclasses.replace(BEHIND, pid=12, entered=5, doing="computing for 800 s at h.py:3")
    found = judged([BEHIND, further], patience=601)
    assert found.startswith(
        "rank 2 (host b, pid 12), computing for 800 s at h.py:3, keeps the others waiting for 601 s"
    )
    assert INSIDE.doing in found and "rank 1" not in found


def test_a_rank_that_left_is_not_waited_for():
    assert judged([INSIDE, LEFT], patience=61) == f"rank 2 (host b, pid 11) has left ({DONE})"


def test_a_verdict_spreads_to_ranks_that_wait_for_nothing():
    found = judged([INSIDE, dataclasses.replace(INSIDE, diagnosis="rank 5 stalls")])
    assert found == "rank 5 stalls"


def test_all_waiting_in_the_same_number_of_collectives():
    long = dataclasses.replace(INSIDE, waiting=601.0)
    found = diagnose(0, [long, dataclasses.replace(long, doing="gather 7")], [0.0, 0.0], 601, LIMITS)
    assert "all-reduce 7" in found and "gather 7" in found
    assert diagnose(0, [long, dataclasses.replace(long, waiting=0.0)], [0.0, 0.0], 601, LIMITS) is None


def test_many_ranks_stay_one_short_line():
    found = judged([BEHIND] * 100, silence=61)
    assert "rank 4 " in found and "rank 5 " not in found and "and 96 more" in found


def test_words_come_back():
    assert RankStatus.parse(BEHIND.text()) == BEHIND == RankStatus.parse(BEHIND.text().encode())


def test_limits_of_the_environment(monkeypatch):
    monkeypatch.setenv("GNNREC_LOST_SECONDS", "2.5")
    monkeypatch.delenv("GNNREC_STALL_SECONDS", raising=False)
    assert Timeouts.from_environment() == Timeouts(2.5, 600)
    for wrong in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv("GNNREC_STALL_SECONDS", wrong)
        with pytest.raises(UserError, match=f"GNNREC_STALL_SECONDS={wrong}: must be a number of seconds"):
            Timeouts.from_environment()
