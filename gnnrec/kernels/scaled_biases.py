"""Learned biases plus closed-form biases times a learned factor, as a torch operator; few kernels on GPUs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gnnrec.kernels import dispatch, scaled_biases_reference
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("scaled_biases", scaled_biases_reference)


def scaled_biases(
    user: Tensor, movie: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes ``user + softplus(multiple) * closed_user``, and the same for movies.

    Args:
        user: Float ``[users]``; differentiable.
        movie: Float ``[movies]``; differentiable.
        closed_user: Float ``[users]``.
        closed_movie: Float ``[movies]``.
        multiple: Float scalar; differentiable.
    """
    if user.device.type == "cpu":
        factor = softplus(multiple)
        return user + factor * closed_user, movie + factor * closed_movie
    return _scaled_biases(user, movie, closed_user, closed_movie, multiple)


@operator("gnnrec::scaled_biases")
def _scaled_biases(
    user: Tensor, movie: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> tuple[Tensor, Tensor]:
    return _KERNELS[user.device.type].scaled_biases(user, movie, closed_user, closed_movie, multiple)


@operator("gnnrec::scaled_biases_backward")
def _by_multiple(
    gradient: Tensor, movie_gradient: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> Tensor:
    kernels = _KERNELS[gradient.device.type]
    return kernels.by_multiple(gradient, movie_gradient, closed_user, closed_movie, multiple)


@_scaled_biases.dispatched.register_fake
def _(user, movie, closed_user, closed_movie, multiple):
    return torch.empty_like(user), torch.empty_like(movie)


@_by_multiple.dispatched.register_fake
def _(gradient, movie_gradient, closed_user, closed_movie, multiple):
    return torch.empty_like(multiple)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[2:])


def _backward(ctx, gradient: Tensor, movie_gradient: Tensor):
    by_multiple = _by_multiple.dispatched(gradient, movie_gradient, *ctx.saved_tensors)
    return gradient, movie_gradient, None, None, by_multiple


_scaled_biases.dispatched.register_autograd(_backward, setup_context=_keep)
