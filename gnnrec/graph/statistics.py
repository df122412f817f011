"""Degrees, closed-form biases and effects of time of the message edges of a step."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.drift import Drift, estimate_drift
from gnnrec.kernels.ragged import owners, segment_sum
from gnnrec.graph.rank_graph import RankGraph

#: Ratings at the mean that every user and movie is given before its bias is estimated.
BIAS_SHRINKAGE = 5.0
#: Times that movie biases, then user biases, are estimated in turn.
BIAS_SWEEPS = 2


@dataclasses.dataclass
class MessageStatistics:
    """What the message edges of a step say by themselves, without parameters or gradients.

    Attributes:
        weight: What a message is multiplied by: 1, or 0 for excluded edges; where messages are left out at random, 0
            for those and more than 1 for the others. Float ``[edges]`` by user.
        weight_by_movie: The same by movie.
        user_degree: Message edges of each local user, float ``[users]``.
        movie_degree: Message edges of each movie on all ranks, float ``[movies]``.
        mean: Mean rating of all message edges, float scalar tensor.
        user_bias: Closed-form biases of local users, ``[users]``.
        movie_bias: Closed-form biases of movies, ``[movies]``.
        residual: Rating minus mean, biases and effects of time, times ``weight``, float ``[edges]`` by user.
        drift: Effects of time; None where the graph has no times.
    """

    weight: Tensor
    weight_by_movie: Tensor
    user_degree: Tensor
    movie_degree: Tensor
    mean: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    residual: Tensor
    drift: Drift | None


@torch.no_grad()
def message_statistics(graph: RankGraph, excluded: tuple[Tensor, Tensor] | None = None) -> MessageStatistics:
    """Degrees, closed-form biases and effects of time over all ranks.

    The biases are ridge estimates in turn, movies first: ``b_m = sum_u (r_um - mean - b_u) / (n_m + shrinkage)``, then
    users alike, :data:`BIAS_SWEEPS` times (Koren, "Factor in the neighbors", TKDD 2010, section 2.1). Excluded edges
    enter as exact zeros: changing their ratings changes no bit of the result.

    Args:
        graph: The rank's graph. Every rank calls this.
        excluded: Boolean masks of the edges that carry no message, by user and by movie; None for no exclusion.
    """
    world, dtype = graph.world, graph.dtype
    if excluded is None:
        weight = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        weight_by_movie = weight
    else:
        weight, weight_by_movie = ((~mask).to(dtype) for mask in excluded)
    user_degree = segment_sum(weight, graph.user_ptr)
    movie_degree = world.sum_(segment_sum(weight_by_movie, graph.movie_ptr))
    rating_sum = segment_sum(graph.rating * weight, graph.user_ptr)
    sums = torch.stack([rating_sum.double().sum(), user_degree.double().sum()])
    total, count = world.sum_(sums)
    mean = (total / count.clamp(min=1)).to(dtype)

    movie_total = world.sum_(segment_sum((graph.rating_by_movie - mean) * weight_by_movie, graph.movie_ptr))
    user_total = rating_sum - mean * user_degree
    user_bias = torch.zeros_like(user_total)
    for sweep in range(BIAS_SWEEPS):
        others = torch.zeros_like(movie_total)
        if sweep > 0:
            others = world.sum_(segment_sum(user_bias[graph.user] * weight_by_movie, graph.movie_ptr))
        movie_bias = (movie_total - others) / (movie_degree + BIAS_SHRINKAGE)
        others = segment_sum(movie_bias[graph.movie] * weight, graph.user_ptr)
        user_bias = (user_total - others) / (user_degree + BIAS_SHRINKAGE)
    residual = graph.rating - (user_bias + mean)[owners(graph.user_ptr)] - movie_bias[graph.movie]
    drift = None
    if graph.time_bins is not None:
        drift = estimate_drift(graph.time_bins, residual, weight, world)
        residual -= drift.effect.sum(1)
    return MessageStatistics(
        weight, weight_by_movie, user_degree, movie_degree, mean, user_bias, movie_bias, residual.mul_(weight), drift
    )
