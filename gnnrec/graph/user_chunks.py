"""Chunks of a rank's users, whose edges are read on demand: memory does not grow with users."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition, partition
from gnnrec.graph.rank_graph import RankGraph, build_chunk_graph

#: A rank with at most this many ratings keeps its graphs in memory (24 bytes per rating).
KEPT_RATINGS = 30_000_000


class UserChunks:
    """Graphs of consecutive users.

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        splits: Splits whose edges carry messages.
        dtype: Floating-point type of ratings.
        chunk: Most users of a graph.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        world: World,
        splits: tuple[int, ...],
        dtype: torch.dtype,
        chunk: int,
    ):
        self.dataset, self.world, self.splits, self.dtype, self.chunk = dataset, world, splits, dtype, chunk
        self._kept: dict[int, RankGraph] = {}

    @cached_property
    def part(self) -> Partition:
        """The users of this rank."""
        return partition(self.dataset.manifest.shards, self.world.rank, self.world.size)

    def ranges(self, first: int, last: int) -> list[range]:
        """Splits the global rows ``first`` to ``last - 1`` into chunks."""
        return [range(start, min(start + self.chunk, last)) for start in range(first, last, self.chunk)]

    def graphs(self) -> Iterator[RankGraph]:
        """Yields the graphs of this rank's users."""
        first, last = self.dataset.user_ptr[[self.part.start, self.part.stop]].tolist()
        keep = last - first <= KEPT_RATINGS
        for users in self.ranges(self.part.start, self.part.stop):
            graph = self._kept[users.start] if users.start in self._kept else self.graph(users)
            if keep:
                self._kept[users.start] = graph
            yield graph

    def graph(self, users: range) -> RankGraph:
        """Builds the graph of any users, by global rows."""
        return build_chunk_graph(self.dataset, users, self.splits, self.dtype, self.world.device)

    def release(self) -> None:
        """Frees the graphs in memory."""
        self._kept.clear()
