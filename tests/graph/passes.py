"""Passes over a graph that supervise the edges a test chooses, in the place of a random fold."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.graph.folds import Epoch
from gnnrec.graph.rank_graph import RankGraph

#: The fold that holds the chosen edges.
SUPERVISED = 1


def supervising(graph: RankGraph, chosen: Tensor) -> Epoch:
    """An epoch of two folds, of which :data:`SUPERVISED` holds the edges of ``chosen``, bool ``[edges]``."""
    epoch = Epoch(graph, 0, 0, 2)
    epoch.fold = chosen.to(torch.uint8)
    return epoch
