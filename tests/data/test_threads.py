"""in_threads computes what a loop computes, in the order of the items."""

from __future__ import annotations

import threading

import pytest

from gnnrec.data.threads import in_threads


def test_results_are_in_the_order_of_the_items():
    assert in_threads(lambda item: item**2, range(100)) == [item**2 for item in range(100)]
    assert in_threads(str, iter([])) == []


def test_items_are_computed_at_the_same_time():
    meeting = threading.Barrier(2, timeout=30)
    assert sorted(in_threads(lambda _: meeting.wait(), range(2))) == [0, 1]


def test_the_first_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // item, [1, 0, 2])
