"""Chunks of a rank's users, whose edges are read on demand: memory does not grow with users."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition, partition
from gnnrec.graph.rank_graph import RankGraph, build_chunk_graph
from gnnrec.graph.time_bins import EMPTY, Clock

#: A rank with at most this many ratings keeps its graphs in memory (24 bytes per rating).
KEPT_RATINGS = 30_000_000


class UserChunks:
    """Graphs of consecutive users.

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        splits: Splits whose edges carry messages.
        dtype: Floating-point type of ratings.
        time: Use times, if the dataset has them.
        chunk: Most users of a graph.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        world: World,
        splits: tuple[int, ...],
        dtype: torch.dtype,
        time: bool,
        chunk: int,
    ):
        self.dataset, self.world, self.splits, self.dtype, self.chunk = dataset, world, splits, dtype, chunk
        self.time = time and dataset.timestamp is not None
        self._kept: dict[int, RankGraph] = {}

    @cached_property
    def part(self) -> Partition:
        """The users of this rank."""
        return partition(self.dataset.manifest.shards, self.world.rank, self.world.size)

    def ranges(self, first: int, last: int) -> list[range]:
        """Splits the global rows ``first`` to ``last - 1`` into chunks."""
        return [range(start, min(start + self.chunk, last)) for start in range(first, last, self.chunk)]

    def graphs(self, timed: bool = True) -> Iterator[RankGraph]:
        """Yields the graphs of this rank's users.

        Args:
            timed: Sort edges by time, in models with time; False may skip sorting.
        """
        first, last = self.dataset.user_ptr[[self.part.start, self.part.stop]].tolist()
        keep = last - first <= KEPT_RATINGS
        for users in self.ranges(self.part.start, self.part.stop):
            graph = self._kept[users.start] if users.start in self._kept else self.graph(users, timed or keep)
            if keep:
                self._kept[users.start] = graph
            yield graph

    def graph(self, users: range, timed: bool = True) -> RankGraph:
        """Builds the graph of any users, by global rows. The first timed call is a collective, for the clock."""
        clock = self.clock if timed else None
        return build_chunk_graph(self.dataset, users, self.splits, self.dtype, clock, self.world.device)

    def release(self) -> None:
        """Frees the graphs in memory."""
        self._kept.clear()

    @cached_property
    def clock(self) -> Clock | None:
        """Clock of all ranks; None in models without time. The first access is a collective."""
        return Clock.from_range(self.times[0], self.times[1], World()) if self.time else None

    @cached_property
    def times(self) -> Tensor:
        """First and last time of all ranks, int64 ``[2]``; a known value can be assigned before the first access."""
        in_splits = np.zeros(256, bool)
        in_splits[list(self.splits)] = True
        first, last = EMPTY
        for users in self.ranges(self.part.start, self.part.stop):
            edges = slice(int(self.dataset.user_ptr[users.start]), int(self.dataset.user_ptr[users.stop]))
            time = torch.from_numpy(self.dataset.timestamp[edges][in_splits[self.dataset.split[edges]]])
            if time.numel():
                first, last = torch.minimum(first, time.min()), torch.maximum(last, time.max())
        first, last = self.world.all_reduce_max_(torch.stack([-first, last]).to(self.world.device)).cpu()
        return torch.stack([-first, last])
