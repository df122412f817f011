"""Message dropout: each pass over the users drops random messages.

Message embeddings predict the ratings of other users. Without noise they memorize the training ratings: the raters of a
movie together can identify its other raters. The dropped messages are a function of global edge ids, so they do not
depend on the number of ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.random import small_integers

#: Groups of edges that are dropped together. Every epoch draws new groups, and every pass the groups to drop: a lookup
#: in a table of this size replaces a random number per edge.
GROUPS = 256


class MessageDropout:
    """Message dropout of one epoch.

    Args:
        graph: The rank's graph.
        seed: Seed of the run.
        epoch: Epoch, from 0.
        rate: Dropout rate, in ``[0, 1)``.
    """

    def __init__(self, graph: RankGraph, seed: int, epoch: int, rate: float):
        self.key, self.rate = rng.key(seed, "message dropout", epoch), rate
        self.group = small_integers(self.key, graph.edge_id, GROUPS)

    def kept(self, fold: int) -> tuple[Tensor, float]:
        """Draws the groups that carry messages in the pass that supervises ``fold``.

        Returns:
            bool ``[GROUPS]``, and the factor of the kept messages that makes up for the dropped ones.
        """
        groups = torch.arange(GROUPS, device=self.group.device)
        dropped = round(self.rate * GROUPS)
        kept = rng.permutation(rng.key(self.key, fold), groups) >= dropped
        return kept, GROUPS / (GROUPS - dropped)
