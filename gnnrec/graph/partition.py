"""Partition of users among ranks: each rank owns consecutive shards, and so a contiguous range of user rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class Partition:
    """Part of a prepared dataset that one rank owns.

    Attributes:
        shards: Row boundaries of the owned shards, ``[owned shards + 1]``, global rows.
        first_shard: Number of the first owned shard.
        num_shards: Shards of the whole dataset.
    """

    shards: tuple[int, ...]
    first_shard: int
    num_shards: int

    @property
    def start(self) -> int:
        """First owned user row."""
        return self.shards[0]

    @property
    def stop(self) -> int:
        """One past the last owned user row."""
        return self.shards[-1]

    @property
    def num_users(self) -> int:
        return self.stop - self.start


def partition(shards: list[int], rank: int, size: int) -> Partition:
    """Returns the consecutive shards that ``rank`` of ``size`` owns.

    Args:
        shards: Boundaries of all shards, ``[num_shards + 1]``.
        rank: This rank.
        size: World size.

    Raises:
        UserError: There are more ranks than shards.
    """
    count = len(shards) - 1
    if size > count:
        raise UserError(
            f"{size} ranks, but the prepared dataset has {count} shards: start fewer ranks, or run gnnrec prepare "
            f"with --shards {size} or more (it needs at least as many users)"
        )
    first, last = rank * count // size, (rank + 1) * count // size
    return Partition(tuple(shards[first : last + 1]), first, count)


@dataclasses.dataclass(frozen=True)
class PartitionReport:
    """Work and memory of each rank.

    Attributes:
        users: Users per rank, ``[ranks]``.
        edges: Ratings per rank (all splits), ``[ranks]``.
        graph_bytes: Bytes of graph arrays in memory per rank, ``[ranks]``.
        bytes_a_step: Bytes that a rank passes to collectives in one training step.
    """

    users: list[int]
    edges: list[int]
    graph_bytes: list[int]
    bytes_a_step: int

    @property
    def balance(self) -> float:
        """Largest share of the edges over the mean share."""
        return float(np.max(self.edges) / max(np.mean(self.edges), 1e-12))

    def lines(self) -> list[str]:
        """Formats the report for the log."""
        rows = [
            f"rank {rank}: {users:,} users, {edges:,} ratings, graph {size / 2**20:,.1f} MiB"
            for rank, (users, edges, size) in enumerate(zip(self.users, self.edges, self.graph_bytes))
        ]
        if len(rows) > 16:
            rows = rows[:15] + [f"... {len(rows) - 15} more ranks"]
        total = f"edges max/mean {self.balance:.4f}, {self.bytes_a_step / 2**20:,.1f} MiB reduced a step"
        return [*rows, total]


#: Bytes of :class:`gnnrec.graph.rank_graph.RankGraph` per edge: movie, rating, id, time, level, time bins of the
#: movie and of the user, fold and group of message dropout.
GRAPH_BYTES_PER_EDGE = 4 + 4 + 4 + 4 + 1 + 4 + 1 + 1 + 1


def partition_report(shards: list[int], user_ptr: np.ndarray, size: int, bytes_a_step: int) -> PartitionReport:
    """Computes users, edges and bytes of every rank; reads only the offsets at rank boundaries."""
    parts = [partition(shards, rank, size) for rank in range(size)]
    edges = [int(user_ptr[part.stop]) - int(user_ptr[part.start]) for part in parts]
    return PartitionReport(
        users=[part.num_users for part in parts],
        edges=edges,
        graph_bytes=[edge * GRAPH_BYTES_PER_EDGE + part.num_users * 8 for edge, part in zip(edges, parts)],
        bytes_a_step=bytes_a_step,
    )
