"""Messages left out at random, pass by pass over the users.

MessageInputs are rows that other users' ratings are predicted with. Without any noise on them they learn the
training ratings
by heart: the raters of a movie together can name whoever else rated it. Which messages are left out is a function of
global edge ids, so it does not depend on the number of ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.random import small_integers

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
        self.key, self.rate = rng.key(seed, "message dropout", epoch), rate
        self.group = small_integers(self.key, graph.edge_id, GROUPS)

    def kept(self, fold: int) -> tuple[Tensor, float]:
        """Which groups carry messages in the pass that supervises ``fold``, bool ``[GROUPS]``.

        Also what messages are multiplied by, so that they sum up to as much as all would.
        """
        groups = torch.arange(GROUPS, device=self.group.device)
        left_out = round(self.rate * GROUPS)
        kept = rng.permutation(rng.key(self.key, fold), groups) >= left_out
        return kept, GROUPS / (GROUPS - left_out)
