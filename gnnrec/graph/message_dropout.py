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
        self.graph, self.key, self.rate = graph, rng.key(seed, "message dropout", epoch), rate
        self.group = small_integers(self.key, graph.edge_id, GROUPS)
        self._num_messages: list[int] = []

    def kept(self, fold: int) -> tuple[Tensor, float]:
        """Draws the groups that carry messages in the pass that supervises ``fold``.

        Returns:
            bool ``[GROUPS]``, and the factor of the kept messages that makes up for the dropped ones.
        """
        kept = self._kept(fold)
        return kept.to(self.graph.device, non_blocking=True), GROUPS / (GROUPS - round(self.rate * GROUPS))

    def num_messages(self, fold: int, fold_of_edges: Tensor, num_folds: int) -> int:
        """Counts the messages of this rank in a pass; the host waits for the device once an epoch.

        Args:
            fold: Fold of the pass.
            fold_of_edges: Fold of each edge, uint8 ``[edges]``.
            num_folds: Folds of the epoch.
        """
        if not self._num_messages:
            cell = fold_of_edges.to(torch.int64) * GROUPS + self.group
            counts = torch.bincount(cell, minlength=num_folds * GROUPS).view(num_folds, GROUPS).cpu()
            others = counts.sum(0) - counts
            self._num_messages = [int(others[fold][self._kept(fold)].sum()) for fold in range(num_folds)]
        return self._num_messages[fold]

    def _kept(self, fold: int) -> Tensor:
        """Draws the groups on the host, bool ``[GROUPS]``."""
        return rng.permutation(rng.key(self.key, fold), torch.arange(GROUPS)) >= round(self.rate * GROUPS)
