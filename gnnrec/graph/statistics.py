"""Degrees, closed-form biases and temporal biases of the message edges of a pass, and the messages themselves."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.folds import Epoch, Folds
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels import statistics as kernels
from gnnrec.kernels.edges import Residuals

#: Pseudo-ratings at the mean in the bias of every user and movie.
BIAS_SHRINKAGE = 5.0


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
        edges: Messages, whose residuals are rating minus mean and biases, and targets with temporal biases.
        temporal_bias: Tables of temporal biases; None if not requested, or without time.
    """

    user_degree: Tensor
    movie_degree: Tensor
    mean: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    weight: float
    edges: Residuals
    temporal_bias: TemporalBiasTables | None


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

    Biases are alternating ridge estimates, movies first: ``b_m = sum_u (r_um - mean - b_u) / (n_m + shrinkage)``, then
    users in the same way, twice (Koren, "Factor in the neighbors", TKDD 2010, section 2.1). Edges of the fold are read
    as targets only: changing their ratings changes no bit of any other result. Degrees, biases and temporal biases are
    over all other edges, including those of dropped messages.

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
    world, dtype, edges = graph.world, graph.rating.dtype, folds.edges
    movie_count, movie_sum = _others(folds.movie_count, fold), _others(folds.movie_sum, fold)
    user_count, user_sum = _others(folds.user_count, fold), _others(folds.user_sum, fold)
    mean = movie_sum.sum() / movie_count.sum().clamp(min=1)
    movie_total, user_total = (movie_sum - mean * movie_count).to(dtype), (user_sum - mean * user_count).to(dtype)
    movie_degree, user_degree, mean = movie_count.to(dtype), user_count.to(dtype), mean.to(dtype)

    movie_bias = movie_total / (movie_degree + BIAS_SHRINKAGE)
    _, others = kernels.bias_sweep(edges, fold, movie_bias, user_total, user_degree, BIAS_SHRINKAGE)
    movie_bias = (movie_total - world.all_reduce_sum_(others)) / (movie_degree + BIAS_SHRINKAGE)
    user_bias, _ = kernels.bias_sweep(edges, fold, movie_bias, user_total, user_degree, BIAS_SHRINKAGE, sums=False)

    user_base, years, windows = user_bias + mean, None, None
    if graph.clock is not None and (fold >= 0 or tables):  # messages need no times
        windows = graph.clock.windows
        years = kernels.both_bins(_over_ranks(graph, kernels.year_sums(edges, fold, user_base, movie_bias, windows)))
    group, kept, weight = None, None, 1.0
    if dropout is not None:
        group, (kept, weight) = dropout.group, dropout.kept(fold)
    targets = torch.zeros_like(folds.user_count[0]) if fold < 0 else folds.user_count[fold]
    residuals = kernels.residuals(
        edges, fold, targets, user_base, movie_bias, years, windows, group, kept, weight, slots, tables
    )
    temporal_bias = None
    if tables and years is not None:
        temporal_bias = TemporalBiasTables(graph.clock, years, graph.user_ptr, graph.time, residuals.stages)
    return MessageStatistics(user_degree, movie_degree, mean, user_bias, movie_bias, weight, residuals, temporal_bias)


def _over_ranks(graph: RankGraph, sums: Tensor) -> Tensor:
    """Sums ``[movies, half-width bins, 2]`` over ranks in place; bins without a rating are not exchanged."""
    if graph.world.size > 1:
        by_bin, rated = sums.view(-1, sums.shape[2]), graph.rated_years
        by_bin.index_copy_(0, rated, graph.world.all_reduce_sum_(by_bin.index_select(0, rated)))
    return sums


def _others(by_fold: Tensor, fold: int) -> Tensor:
    """Sums over all folds but one, ``[folds, rows]`` to ``[rows]``, without reading that one."""
    if fold < 0:
        return by_fold.sum(0)
    return by_fold[:fold].sum(0) + by_fold[fold + 1 :].sum(0)
