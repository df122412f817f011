"""Reference implementation of :mod:`gnnrec.kernels.item_scores` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.ragged import owners


def squared_loss(
    source: Tensor,
    target: Tensor,
    pointer: Tensor,
    entry: Tensor,
    by_column: tuple[Tensor, Tensor, Tensor],
    weights: tuple[Tensor, Tensor | None, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.item_scores.squared_loss`: the loss, and its derivatives by source and target."""
    sent, value, user_weight = weights
    user, movie = owners(pointer, torch.int64, entry.numel()), entry.to(torch.int64)
    vectors = source.new_zeros(pointer.numel() - 1, source.shape[1])
    vectors.index_add_(0, user, source[movie] * sent[:, None])
    through = vectors @ (target.T @ target)
    dots = (vectors[user] * target[movie]).sum(1)
    own = (source[movie] * target[movie]).sum(1)
    left = dots - own * sent - (1 if value is None else value)
    weight = user_weight[user]
    loss = (vectors * through).sum(1) @ user_weight + (left.square() - dots.square()) @ weight
    by_dot, by_own = 2 * weight * (left - dots), -2 * weight * left * sent
    by_vector = 2 * user_weight[:, None] * through
    by_vector.index_add_(0, user, by_dot[:, None] * target[movie])
    by_source = (by_own[:, None] * target[movie]) + sent[:, None] * by_vector[user]
    by_target = (by_own[:, None] * source[movie]) + by_dot[:, None] * vectors[user]
    gram = vectors.T @ (vectors * user_weight[:, None])
    return (
        loss,
        torch.zeros_like(source).index_add_(0, movie, by_source),
        (2 * target @ gram).index_add_(0, movie, by_target),
    )
