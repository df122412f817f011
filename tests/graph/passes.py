"""Passes over a graph that supervise edges chosen by a test, instead of a random fold."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.graph.folds import Epoch
from gnnrec.graph.rank_graph import RankGraph

#: The fold that holds the chosen edges.
SUPERVISED = 1


def supervising(graph: RankGraph, chosen: Tensor) -> Epoch:
    """Returns an epoch of two folds, in which fold :data:`SUPERVISED` has the edges of ``chosen``, bool ``[edges]``."""
    epoch = Epoch(graph, 0, 0, 2)
    epoch.fold = chosen.to(torch.uint8)
    return epoch
