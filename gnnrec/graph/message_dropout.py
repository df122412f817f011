"""Messages left out at random, pass by pass over the users.

Sources are rows that other users' ratings are predicted with. Without any noise on them they learn the training ratings
by heart: the raters of a movie together can name whoever else rated it. Which messages are left out is a function of
global edge ids, so it does not depend on the number of ranks.
"""

from __future__ import annotations

import dataclasses

import torch

from gnnrec import counters
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics

#: Groups of edges that are left out together. They are drawn anew in every epoch, and which of them are left out in
#: every pass: a table of this size is looked up instead of a random number drawn for each edge.
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
        self.key, self.rate = counters.key(seed, "message dropout", epoch), rate
        self.group = counters.integers(self.key, graph.edge_id, GROUPS).to(torch.uint8)
        self.group_by_movie = self.group[graph.order]

    def apply(self, statistics: MessageStatistics, fold: int) -> MessageStatistics:
        """Leaves messages out of the pass that supervises ``fold``, and scales the others by ``1 / (1 - rate)``.

        Degrees, biases and effects of time stay those of all messages.
        """
        groups = torch.arange(GROUPS, device=self.group.device)
        kept = counters.permutation(counters.key(self.key, fold), groups) >= round(self.rate * GROUPS)
        table = kept.to(statistics.weight) * (GROUPS / kept.sum())
        factor, factor_by_movie = table[self.group.int()], table[self.group_by_movie.int()]
        return dataclasses.replace(
            statistics,
            weight=statistics.weight * factor,
            weight_by_movie=statistics.weight_by_movie * factor_by_movie,
            residual=statistics.residual * factor,
        )
