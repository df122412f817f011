"""A rank stalls or leaves alone: the others stop and name its location or reason. No false alarms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed import faulty
from tests.distributed.faulty import FAULTY_RANK
from tests.distributed.faulty_ranks import FAULTY_LABEL, SLACK, assert_named, run_faulty

pytestmark = [pytest.mark.slow, pytest.mark.timing]


def test_a_stalled_rank_is_named_with_its_location(tmp_path):
    ends = run_faulty(tmp_path, "sleep", lost=10, stall=2)
    assert ends[FAULTY_RANK].seconds is not None, "the others' diagnosis ends it too"
    sleeping = Path(faulty.__file__).read_text().splitlines().index("        time.sleep(600)") + 1
    for rank in range(3):
        assert_named(ends[rank], rank, FAULTY_LABEL, f"at faulty.py:{sleeping}) has kept the others waiting for 2 s")
        assert 2 <= ends[rank].seconds < 2 + SLACK


def test_ranks_in_different_collectives_are_named_with_their_collectives(tmp_path):
    for rank, end in enumerate(run_faulty(tmp_path, "different collectives", lost=10, stall=2)):
        assert_named(end, rank, "gather 11 for", "all-reduce 11 for", "all ranks wait for each other")


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("bug", 1, "KeyError: 'a bug of rank 1'"),
        ("user error", 2, "UserError: no rating here: look elsewhere"),
        ("leave", 0, "finished"),
    ],
)
def test_a_rank_that_leaves_alone_is_named_with_its_reason(tmp_path, fault, code, reason):
    ends = run_faulty(tmp_path, fault, lost=10, stall=60)
    assert ends[FAULTY_RANK].code == code
    for rank in (0, 2):
        assert_named(ends[rank], rank, FAULTY_LABEL, f"has left ({reason})")


def test_other_errors_keep_their_traceback(tmp_path):
    for end in run_faulty(tmp_path, "RuntimeError", lost=10, stall=60):
        assert end.code == 1 and "Traceback" in end.output and "RuntimeError: a bug of all ranks" in end.output


def test_computing_long_and_leaving_at_different_times_is_no_fault(tmp_path):
    """No rank calls a collective for longer than both timeouts; then rank 1 works alone after the others have left."""
    for rank, end in enumerate(run_faulty(tmp_path, "compute long", lost=4, stall=2)):
        assert end.output.splitlines() == [f"rank {rank}: before", f"rank {rank}: after"]
        assert end.code == 0
