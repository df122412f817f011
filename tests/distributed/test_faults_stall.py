"""A rank that stalls or leaves alone: the others stop and say where it is, or why it left. And no false alarms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.distributed import faulty
from tests.distributed.faulty import GUILTY
from tests.distributed.faulty_ranks import GUILTY_NAMED, SLACK, assert_named, run_faulty


def test_a_rank_that_stalls_is_named_with_the_place(tmp_path):
    ends = run_faulty(tmp_path, "sleep", lost=10, stall=2)
    assert ends[GUILTY].seconds is not None, "the others' diagnosis ends it too"
    sleeping = Path(faulty.__file__).read_text().splitlines().index("        time.sleep(600)") + 1
    for rank in range(3):
        assert_named(ends[rank], rank, GUILTY_NAMED, f"at faulty.py:{sleeping}, keeps the others waiting for 2 s")
        assert 2 <= ends[rank].seconds < 2 + SLACK


def test_ranks_in_different_collectives_tell_where_each_is(tmp_path):
    for rank, end in enumerate(run_faulty(tmp_path, "different collectives", lost=10, stall=2)):
        assert_named(end, rank, "gather 11 for", "all-reduce 11 for", "all ranks wait for each other")


@pytest.mark.parametrize(
    ("fault", "code", "how"),
    [
        ("bug", 1, "KeyError: 'a bug of rank 1'"),
        ("user error", 2, "UserError: no rating here: look elsewhere"),
        ("leave", 0, "it had finished"),
    ],
)
def test_a_rank_that_leaves_alone_is_named_with_its_reason(tmp_path, fault, code, how):
    ends = run_faulty(tmp_path, fault, lost=10, stall=60)
    assert ends[GUILTY].code == code
    for rank in (0, 2):
        assert_named(ends[rank], rank, GUILTY_NAMED, f"has left ({how})")


def test_other_errors_keep_their_traceback(tmp_path):
    for end in run_faulty(tmp_path, "RuntimeError", lost=10, stall=60):
        assert end.code == 1 and "Traceback" in end.output and "RuntimeError: a bug of all ranks" in end.output


def test_computing_long_and_leaving_at_different_times_is_no_fault(tmp_path):
    """Nobody calls a collective for longer than both limits; then rank 1 works on alone when the others have left."""
    for rank, end in enumerate(run_faulty(tmp_path, "compute long", lost=4, stall=2)):
        assert end.output.splitlines() == [f"rank {rank}: before", f"rank {rank}: after"]
        assert end.code == 0
