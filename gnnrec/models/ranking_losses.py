"""Ranking losses: the movies that a user likes should score higher than all others.

Every loss is a weighted sum over users. A movie's own message is excluded from its score by subtracting the dot product
of its message embedding and its target row, so no movie predicts itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gnnrec.graph.ranking_batch import RankingBatch
from gnnrec.kernels import item_scores
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.pairs import pair_dots
from gnnrec.kernels.sums import bag


def user_vectors(source: Tensor, batch: RankingBatch) -> Tensor:
    """Sums the message embeddings of each user's movies: float ``[users, dim]``, differentiable."""
    return bag(source, batch.lists.entry, batch.lists.pointer, batch.message_weight)


def self_scores(source: Tensor, target: Tensor, batch: RankingBatch) -> Tensor:
    """Computes the contribution of each movie's own message to its score, float ``[edges]``."""
    return (source * target).sum(1)[batch.lists.entry] * batch.message_weight


def squared_loss(source: Tensor, target: Tensor, batch: RankingBatch) -> Tensor:
    """Computes ``sum_u w_u sum_j (score_uj - value_uj)^2`` over all movies ``j`` without a ``[users, movies]`` matrix.

    ``sum_j (z . t_j)^2 = z' (T'T) z``, and only scores of the user's own movies differ from ``z . t_j``. The value of a
    movie that is not among them is 0; that of the others is 1, a confidence, or less for weak likes.

    Args:
        source: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        batch: The users of this rank in the step.
    """
    if source.device.type != "cpu":
        return item_scores.squared_loss(
            source, target, batch.lists, batch.message_weight, batch.value, batch.user_weight
        )
    users = user_vectors(source, batch)
    dots = pair_dots(users, target, batch.lists.pointer, batch.lists.entry)
    scores = dots - self_scores(source, target, batch)
    all_movies = ((users @ (target.T @ target)) * users).sum(1)
    corrections = (scores - (1 if batch.value is None else batch.value)).square() - dots.square()
    return all_movies @ batch.user_weight + corrections @ batch.user_weight[batch.lists.owner]


def softmax_loss(source: Tensor, target: Tensor, batch: RankingBatch, scale: Tensor) -> Tensor:
    """Computes ``-sum_u w_u / n_u sum_j log softmax(scale * score)_uj`` over the ``n_u`` movies ``j`` of user ``u``.

    The multinomial likelihood of Liang et al., "Variational autoencoders for collaborative filtering" (WWW 2018).

    Args:
        source: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        batch: The users of this rank in the step.
        scale: Factor of the scores, float scalar.
    """
    owner, movie = batch.lists.owner.long(), batch.lists.entry.long()
    scores = user_vectors(source, batch) @ target.T
    scores = scores.index_put((owner, movie), -self_scores(source, target, batch), accumulate=True) * scale
    log_share = scores[owner, movie] - scores.logsumexp(1)[owner]
    return -(log_share @ _weight_per_edge(batch))


def sampled_softmax_loss(source: Tensor, target: Tensor, batch: RankingBatch, scale: Tensor) -> Tensor:
    """Computes :func:`softmax_loss` over each movie and sampled negatives instead of all movies.

    The logarithm of a negative's expected number of draws is subtracted from its logit, which makes the sampled sum an
    estimate of the full one (Bengio and Senecal, "Adaptive importance sampling to accelerate training of a neural
    probabilistic language model", IEEE Transactions on Neural Networks 2008).

    Args:
        source: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        batch: The users of this rank in the step, with negatives.
        scale: Factor of the scores, float scalar.
    """
    positive, negative = _pairwise_scores(source, target, batch)
    negative = scale * negative - (batch.negative_share * batch.negatives.shape[1]).log()
    negative = negative.masked_fill(batch.negative_weight == 0, -math.inf)
    positive = scale * positive
    log_share = positive - torch.cat([positive[:, None], negative], 1).logsumexp(1)
    return -(log_share @ _weight_per_edge(batch))


def bpr_loss(source: Tensor, target: Tensor, batch: RankingBatch, scale: Tensor) -> Tensor:
    """Computes ``-sum_u w_u / n_u sum_j mean_k log sigmoid(scale * (score_uj - score_uk))`` over negatives ``k``.

    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009).

    Args:
        source: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        batch: The users of this rank in the step, with negatives.
        scale: Factor of the scores, float scalar.
    """
    positive, negative = _pairwise_scores(source, target, batch)
    likelihood = logsigmoid(scale * (positive[:, None] - negative)) * batch.negative_weight
    return -(likelihood.mean(1) @ _weight_per_edge(batch))


def _pairwise_scores(source: Tensor, target: Tensor, batch: RankingBatch) -> tuple[Tensor, Tensor]:
    """Scores the movies of each user ``[edges]`` and their negatives ``[edges, n]``."""
    users = user_vectors(source, batch)
    positive = pair_dots(users, target, batch.lists.pointer, batch.lists.entry) - self_scores(source, target, batch)
    draws = batch.negatives.shape[1]
    drawn = CSRLists(batch.lists.pointer * draws, batch.negatives.reshape(-1), batch.lists.columns)
    return positive, pair_dots(users, target, drawn.pointer, drawn.entry).view(-1, draws)


def _weight_per_edge(batch: RankingBatch) -> Tensor:
    """Divides each user's weight among the user's movies, in proportion to their values: float ``[edges]``."""
    if batch.value is not None:
        total = batch.user_weight.new_zeros(batch.lists.rows).index_add_(0, batch.lists.owner, batch.value)
        return batch.value * (batch.user_weight / total)[batch.lists.owner]
    return (batch.user_weight / batch.lists.pointer.diff().clamp(min=1))[batch.lists.owner]
