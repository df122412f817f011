"""Messages left out at random, step by step, where neighbourhoods are taken whole.

Sources are rows that other users' ratings are predicted with. Without any noise on them they learn the training ratings
by heart: the raters of a movie together can name whoever else rated it. Which messages are left out is a function of
global edge ids, so it does not depend on the number of ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import counters
from gnnrec.graph.rank_graph import RankGraph

#: Groups of edges that are left out together. They are drawn anew in every epoch, and which of them are left out in
#: every step: a table of this size is looked up instead of a random number drawn for each edge.
GROUPS = 256


class MessageDropout:
    """The factors of one epoch.

    Args:
        graph: The rank's graph.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        rate: Share of messages that is left out, from 0 to below 1.
    """

    def __init__(self, graph: RankGraph, seed: int, epoch: int, rate: float):
        self.key, self.rate, self.dtype = counters.key(seed, "message dropout", epoch), rate, graph.dtype
        self.group = counters.integers(self.key, graph.edge_id, GROUPS).to(torch.uint8)
        self.group_by_movie = self.group[graph.order]

    def factors(self, step: int) -> tuple[Tensor, Tensor]:
        """0 for messages that are left out of a step, ``1 / (1 - rate)`` for the others.

        Args:
            step: Step within the epoch.

        Returns:
            Float ``[edges]`` by user, and by movie.
        """
        groups = torch.arange(GROUPS, device=self.group.device)
        kept = counters.permutation(counters.key(self.key, step), groups) >= round(self.rate * GROUPS)
        table = kept.to(self.dtype) * (GROUPS / kept.sum())
        return table[self.group.int()], table[self.group_by_movie.int()]
