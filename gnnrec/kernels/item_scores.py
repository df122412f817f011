"""Squared loss of a linear item-to-item model, as a torch operator that computes its gradients in the same pass."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, item_scores_reference
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("item_scores", item_scores_reference)


def squared_loss(
    source: Tensor,
    target: Tensor,
    lists: CSRLists,
    message_weight: Tensor,
    value: Tensor | None,
    user_weight: Tensor,
) -> Tensor:
    """Computes ``sum_u w_u sum_j (score_uj - value_uj)^2`` over all movies ``j``, on devices.

    A user's vector ``z_u`` is the sum of the weighted source rows of the user's movies; the score of a movie is
    ``z_u . t_j``, less the movie's own part. The value of a movie that is not in the user's list is 0.

    Args:
        source: Float ``[movies, dim]``; differentiable.
        target: Float ``[movies, dim]``; differentiable.
        lists: The movies of each user.
        message_weight: Weight of each source row, float ``[entries]``.
        value: Wanted scores, float ``[entries]``; None for ones.
        user_weight: ``w``, float ``[users]``.

    Returns:
        Float scalar.
    """
    return _squared_loss(
        source, target, lists.pointer, lists.entry, *lists.by_column, message_weight, value, user_weight
    )[0]


@operator("gnnrec::item_squared_loss")
def _squared_loss(
    source: Tensor,
    target: Tensor,
    pointer: Tensor,
    entry: Tensor,
    column_pointer: Tensor,
    row: Tensor,
    order: Tensor,
    message_weight: Tensor,
    value: Tensor | None,
    user_weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the loss, and its derivatives by source and target."""
    by_column, weights = (column_pointer, row, order), (message_weight, value, user_weight)
    kernels = _KERNELS[source.device.type]
    return kernels.squared_loss(source, target, pointer, entry, by_column, weights)


@_squared_loss.dispatched.register_fake
def _(source, target, *others):
    return source.new_empty(()), torch.empty_like(source), torch.empty_like(target)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx, gradient: Tensor, *_):
    by_source, by_target = ctx.saved_tensors
    return gradient * by_source, gradient * by_target, *[None] * 8


_squared_loss.dispatched.register_autograd(_backward, setup_context=_keep)
