"""Sum of squared errors of predicted ratings, as a torch operator; one reading of the targets on GPUs."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, errors_reference
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("errors", errors_reference)


def squared_errors(
    score: Tensor, offset: Tensor, rating: Tensor, bias: Tensor | None = None, factor: Tensor | None = None
) -> Tensor:
    """Computes the sum over targets of ``error^2``, or of half of ``error^2 + (error + bias . factor)^2`` with biases.

    Args:
        score: Float ``[targets]``; differentiable. The error is ``offset + score - rating``.
        offset: Float scalar; differentiable.
        rating: Float ``[targets]``.
        bias: Temporal biases, float ``[targets, n]``, or None.
        factor: Float ``[n]``; differentiable; None without biases.

    Returns:
        Float scalar.
    """
    if score.device.type == "cpu":
        error = offset + score - rating
        if bias is None:
            return error.square().sum()
        return (error.square().sum() + (error + bias @ factor).square().sum()) / 2
    dtype = torch.promote_types(score.dtype, torch.float32)
    factor = None if factor is None else factor.to(dtype)
    return _squared_errors(score.to(dtype), offset.to(dtype), rating, bias, factor)[0]


@operator("gnnrec::squared_errors")
def _squared_errors(
    score: Tensor, offset: Tensor, rating: Tensor, bias: Tensor | None, factor: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the sum, its derivatives by scores ``[targets]``, and those by offset and factors ``[1 + n]``."""
    return _KERNELS[score.device.type].squared_errors(score, offset, rating, bias, factor)


@_squared_errors.dispatched.register_fake
def _(score, offset, rating, bias, factor):
    others = 1 if factor is None else 1 + factor.shape[0]
    return score.new_empty(()), torch.empty_like(score), score.new_empty(others)


def _keep(ctx, inputs, output) -> None:
    _, by_score, by_others = output
    ctx.save_for_backward(by_score, by_others)
    ctx.mark_non_differentiable(by_score, by_others)
    ctx.set_materialize_grads(False)


def _backward(ctx, gradient: Tensor, *_):
    by_score, by_others = ctx.saved_tensors
    others = gradient * by_others
    by_factor = others[1:] if others.numel() > 1 else None
    return gradient * by_score, others[0], None, None, by_factor


_squared_errors.dispatched.register_autograd(_backward, setup_context=_keep)
