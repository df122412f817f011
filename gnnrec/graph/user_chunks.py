"""A rank's users in chunks whose edges are read when they are worked on: memory does not grow with users."""

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

#: A rank with at most this many ratings keeps its graphs (24 bytes a rating) and reads them once.
KEPT_RATINGS = 30_000_000


class UserChunks:
    """Graphs of consecutive users.

    Args:
        dataset: The prepared dataset.
        world: The ranks.
        splits: Splits whose edges carry messages.
        dtype: Floating-point type of ratings.
        time: Time plays a part where the dataset has times.
        chunk: Users of a graph, at most.
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
        """Global rows ``first`` to ``last - 1``, cut into chunks."""
        return [range(start, min(start + self.chunk, last)) for start in range(first, last, self.chunk)]

    def graphs(self, timed: bool = True) -> Iterator[RankGraph]:
        """The graphs of this rank's users.

        Args:
            timed: DatasetEdges must be sorted by time, where time plays a part; without it that is saved where it
                can be.
        """
        first, last = self.dataset.user_ptr[[self.part.start, self.part.stop]].tolist()
        keep = last - first <= KEPT_RATINGS
        for users in self.ranges(self.part.start, self.part.stop):
            graph = self._kept[users.start] if users.start in self._kept else self.graph(users, timed or keep)
            if keep:
                self._kept[users.start] = graph
            yield graph

    def graph(self, users: range, timed: bool = True) -> RankGraph:
        """The graph of any users, by global rows; the first call is for all ranks, for the clock."""
        clock = self.clock if timed else None
        return build_chunk_graph(self.dataset, users, self.splits, self.dtype, clock, self.world.device)

    def forget(self) -> None:
        """Gives kept graphs back."""
        self._kept.clear()

    @cached_property
    def clock(self) -> Clock | None:
        """What times are counted from; None where time plays no part. Every rank asks for it."""
        return Clock.between(self.times[0], self.times[1], World()) if self.time else None

    @cached_property
    def times(self) -> Tensor:
        """First and last time of all ranks, int64 ``[2]``; may be set, where it is known, before anything is asked."""
        wanted = np.zeros(256, bool)
        wanted[list(self.splits)] = True
        first, last = EMPTY
        for users in self.ranges(self.part.start, self.part.stop):
            edges = slice(int(self.dataset.user_ptr[users.start]), int(self.dataset.user_ptr[users.stop]))
            time = torch.from_numpy(self.dataset.timestamp[edges][wanted[self.dataset.split[edges]]])
            if time.numel():
                first, last = torch.minimum(first, time.min()), torch.maximum(last, time.max())
        first, last = self.world.all_reduce_max_(torch.stack([-first, last]).to(self.world.device)).cpu()
        return torch.stack([-first, last])
