"""A rank that is stopped or killed: the others stop in time and name it. Real processes, with short limits."""

from __future__ import annotations

import re
import signal

import pytest

from tests.distributed.faulty import GUILTY
from tests.distributed.faulty_ranks import GUILTY_NAMED, LINE, SLACK, assert_named, run_faulty


def test_a_rank_that_is_stopped_is_lost(tmp_path):
    ends = run_faulty(tmp_path, "stop", lost=3, stall=60)
    assert ends[GUILTY].seconds is None, "it is stopped still"
    for rank in (0, 2):
        assert_named(ends[rank], rank, GUILTY_NAMED, "has not been heard of for 3 s", ", last ")
        assert 2 < ends[rank].seconds < 3 + SLACK


@pytest.mark.parametrize("fault", ["kill", "kill in DDP"])
def test_a_rank_that_is_killed_is_named_long_before_it_counts_as_lost(tmp_path, fault):
    ends = run_faulty(tmp_path, fault, lost=6, stall=60)
    assert ends[GUILTY].code == -signal.SIGKILL
    for rank in (0, 2):
        assert_named(ends[rank], rank, GUILTY_NAMED)
        assert ends[rank].seconds < 6


def test_a_killed_rank_that_served_the_store_is_named(tmp_path):
    _, *ends = run_faulty(tmp_path, "kill the store", lost=3, stall=60)
    for rank, end in enumerate(ends, start=1):
        # torch complains at length about its store, which this process does not hold.
        line = end.output.splitlines()[-1]
        assert re.fullmatch(LINE.format(rank=rank), line)
        assert "store on 127.0.0.1:" in line and "(rank 0's) does not answer" in line
        assert end.code == 76 and end.seconds < 4 + SLACK
