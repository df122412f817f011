"""Each rank owns consecutive shards, and reports add up."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.errors import UserError
from gnnrec.graph.partition import partition, partition_report

SHARDS = [0, 3, 4, 9, 10, 16, 17, 30]


@pytest.mark.parametrize("size", range(1, 8))
def test_every_shard_and_user_is_owned_once(size):
    parts = [partition(SHARDS, rank, size) for rank in range(size)]
    owned = [part.first_shard + place for part in parts for place in range(len(part.shards) - 1)]
    assert owned == list(range(7))
    assert [user for part in parts for user in range(part.start, part.stop)] == list(range(30))
    counts = [len(part.shards) - 1 for part in parts]
    assert max(counts) - min(counts) <= 1
    for part in parts:
        assert part.num_users == part.stop - part.start > 0
        assert part.num_shards == 7
        last = part.first_shard + len(part.shards)
        assert list(part.shards) == SHARDS[part.first_shard : last]


@pytest.mark.parametrize("rank", [0, 7])
def test_more_ranks_than_shards_are_an_error_on_every_rank(rank):
    with pytest.raises(UserError, match="8 ranks, but the prepared dataset has 7 shards.*--shards 8"):
        partition(SHARDS, rank, 8)


def test_report_adds_up():
    degree = np.arange(30)
    pointer = np.concatenate([[0], np.cumsum(degree)])
    actual = partition_report(SHARDS, pointer, 3, 12345)
    assert actual.users == [4, 6, 20]
    assert actual.edges == [degree[:4].sum(), degree[4:10].sum(), degree[10:].sum()]
    assert sum(actual.edges) == degree.sum()
    assert actual.balance == pytest.approx(max(actual.edges) / (degree.sum() / 3))
    assert actual.bytes_a_step == 12345
    lines = actual.lines()
    assert len(lines) == 4
    assert lines[2].startswith("rank 2: 20 users, 390 ratings")


def test_balance_is_one_on_one_rank_and_zero_without_edges():
    assert partition_report(SHARDS, np.arange(31), 1, 0).balance == 1
    assert partition_report(SHARDS, np.zeros(31, np.int64), 3, 0).balance == 0


def test_long_reports_are_truncated():
    shards = list(range(41))
    lines = partition_report(shards, np.arange(41), 40, 0).lines()
    assert len(lines) == 17
    assert lines[14].startswith("rank 14:") and "25 more ranks" in lines[15]
