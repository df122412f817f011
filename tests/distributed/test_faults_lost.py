"""A rank is stopped or killed: the others stop in time and name it. Real processes, with short timeouts."""

from __future__ import annotations

import re
import signal

import pytest

from tests.distributed.faulty import FAULTY_RANK
from tests.distributed.faulty_ranks import FAULTY_LABEL, LINE, SLACK, assert_named, run_faulty

pytestmark = [pytest.mark.slow, pytest.mark.timing]


def test_a_stopped_rank_is_lost(tmp_path):
    ends = run_faulty(tmp_path, "stop", lost=3, stall=60)
    assert ends[FAULTY_RANK].seconds is None, "the rank is still stopped"
    for rank in (0, 2):
        assert_named(ends[rank], rank, FAULTY_LABEL, "has sent no heartbeat for 3 s", ", last ")
        assert 2 < ends[rank].seconds < 3 + SLACK


@pytest.mark.parametrize("fault", ["kill", "kill in DDP"])
def test_a_killed_rank_is_named_long_before_the_timeout(tmp_path, fault):
    ends = run_faulty(tmp_path, fault, lost=30, stall=60)
    assert ends[FAULTY_RANK].code == -signal.SIGKILL
    for rank in (0, 2):
        assert_named(ends[rank], rank, FAULTY_LABEL)
        assert ends[rank].seconds < 20


def test_a_killed_rank_that_served_the_store_is_named(tmp_path):
    _, *ends = run_faulty(tmp_path, "kill the store", lost=3, stall=60)
    for rank, end in enumerate(ends, start=1):
        # torch also logs many lines about its store, which another process served.
        line = end.output.splitlines()[-1]
        assert re.fullmatch(LINE.format(rank=rank), line)
        assert "store on 127.0.0.1:" in line and "(rank 0's) does not answer" in line
        assert end.code == 76 and end.seconds < 4 + SLACK
