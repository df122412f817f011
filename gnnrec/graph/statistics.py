"""Degrees, closed-form biases and temporal biases of the message edges of a pass, and the messages themselves."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.fold_biases import NO_FOLD, fold_biases
from gnnrec.graph.fold_sums import Folds
from gnnrec.graph.folds import Epoch
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels import statistics as kernels
from gnnrec.kernels.column_order import select_by_column
from gnnrec.kernels.edges import Residuals
from gnnrec.kernels.lists import ByColumn


@dataclasses.dataclass(frozen=True)
class MessageStatistics:
    """Statistics of the message edges of a pass, without parameters or gradients.

    Attributes:
        user_degree: Message edges of each local user, float ``[users]``.
        movie_degree: Message edges of each movie on all ranks, float ``[movies]``.
        mean: Mean rating of all message edges, float scalar tensor.
        user_bias: Closed-form biases of local users, ``[users]``.
        movie_bias: Closed-form biases of movies, ``[movies]``.
        weight: Factor of messages: 1, or more with message dropout. Residuals include it.
        edges: Messages, whose residuals are rating minus mean and biases, and targets.
        target_temporal_bias: Temporal biases of the targets, float ``[targets, 3]``; None in models without time.
        temporal_bias: Tables of temporal biases; None if not requested, or without time.
    """

    user_degree: Tensor
    movie_degree: Tensor
    mean: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    weight: float
    edges: Residuals
    target_temporal_bias: Tensor | None
    temporal_bias: TemporalBiasTables | None
    _by_movie: list[tuple[ByColumn, ByColumn]] = dataclasses.field(default_factory=list, init=False, repr=False)

    def by_movie(self, graph: RankGraph) -> tuple[ByColumn, ByColumn]:
        """Selects messages and targets from all edges sorted by movie, on devices; computed once."""
        if not self._by_movie:
            every, edges = graph.edge_orders.by_movie, self.edges
            start, user, order = every.movie_pointer, every.user, every.order
            if edges.movie.numel() == graph.num_edges:
                messages = start, user.to(torch.int32), order
                self._by_movie.append((messages, (torch.zeros_like(start), messages[1][:0], messages[2][:0])))
            else:
                sizes = edges.movie.numel(), edges.target_movie.numel()
                self._by_movie.append(select_by_column(start, user, order, edges.slot, sizes))
        return self._by_movie[0]


@torch.no_grad()
def message_statistics(
    graph: RankGraph,
    epoch: Epoch | None = None,
    fold: int = -1,
    dropout: MessageDropout | None = None,
    slots: bool = False,
    tables: bool = False,
) -> MessageStatistics:
    """Computes statistics of the edges that carry messages while ``fold`` is supervised. Every rank calls this.

    Edges of the fold are read as targets only: changing their ratings changes no bit of any other result. Degrees,
    biases and temporal biases (:func:`gnnrec.graph.fold_biases.fold_biases`) are over all other edges, including those
    of dropped messages.

    Args:
        graph: The rank's graph.
        epoch: Folds; None for messages from all edges and no targets.
        fold: The supervised fold; -1 for none.
        dropout: Message dropout, or None.
        slots: Compute the message of each edge, for samplers.
        tables: Compute the tables of temporal biases; only without a supervised fold.
    """
    if tables and fold >= 0:
        raise ValueError("tables of temporal biases are available only without a supervised fold")
    folds = epoch.folds if epoch is not None else Folds.single(graph)
    biases = epoch.biases(fold) if fold >= 0 else fold_biases(graph, folds, NO_FOLD, tables)
    row, of_targets, sizes = biases.folds.index(fold), biases.edges_of(fold), None
    if fold >= 0 and graph.device.type != "cpu":
        sizes = _sizes(graph, epoch, fold, of_targets.stop - of_targets.start, dropout)
    group, kept, weight = None, None, 1.0
    if dropout is not None:
        group, (kept, weight) = dropout.group, dropout.kept(fold)
    targets = torch.zeros_like(folds.user_count[0]) if fold < 0 else folds.user_count[fold]
    mean, user_bias, movie_bias = biases.mean[row], biases.user_bias[row], biases.movie_bias[row]
    residuals = kernels.residuals(
        folds.edges, fold, targets, sizes, user_bias + mean, movie_bias, group, kept, weight, slots
    )
    return MessageStatistics(
        user_degree=biases.user_degree[row],
        movie_degree=biases.movie_degree[row],
        mean=mean,
        user_bias=user_bias,
        movie_bias=movie_bias,
        weight=weight,
        edges=residuals,
        target_temporal_bias=None if biases.temporal_bias is None else biases.temporal_bias[of_targets],
        temporal_bias=biases.tables,
    )


def _sizes(graph: RankGraph, epoch: Epoch, fold: int, targets: int, dropout: MessageDropout | None) -> tuple[int, int]:
    """Returns the numbers of messages and targets of a pass on this rank."""
    if dropout is None:
        return graph.num_edges - targets, targets
    return dropout.num_messages(fold, epoch.fold, epoch.num_folds), targets
