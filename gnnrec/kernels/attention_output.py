"""Divisions and sums that follow the sums of attention on devices, as torch operators: one kernel each way."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import attention_output_reference, dispatch
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("attention_output", attention_output_reference)


def attention_output(numerator: Tensor, denominator: Tensor, degree: Tensor | None, bias: Tensor) -> Tensor:
    """Computes ``numerator / denominator [* sqrt(degree)] + bias``, and ``bias`` where a denominator is 0.

    Args:
        numerator: Float ``[receivers, heads * channels]``; differentiable.
        denominator: Float ``[receivers, heads]``; differentiable.
        degree: Float ``[receivers]``, or None for ones.
        bias: Float ``[heads * channels]``; differentiable.
    """
    return _output(numerator, denominator, degree, bias)


def kept_denominator(whole: Tensor, change: Tensor) -> Tensor:
    """Computes ``max(whole + change, whole / 2)``; differentiable by ``change``, float of the same shape."""
    return _kept(whole, change)


def attention_totals(
    numerator: Tensor, by_level: Tensor, rating: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Adds rating embeddings to sums of messages, and scales sums of sampled messages up.

    Args:
        numerator: Float ``[receivers, heads * channels]``; differentiable.
        by_level: Attention by rating level, float ``[receivers, heads, levels]``; differentiable.
        rating: Rating embeddings, float ``[levels, heads * channels]``; differentiable.
        scale: Float ``[receivers]``, or None for ones.

    Returns:
        ``scale * (numerator + by_level @ rating)`` of each head, and ``scale * by_level.sum(2)``.
    """
    return _totals(numerator, by_level, rating.to(numerator.dtype), scale)


@operator("gnnrec::attention_output")
def _output(numerator: Tensor, denominator: Tensor, degree: Tensor | None, bias: Tensor) -> Tensor:
    return _KERNELS[numerator.device.type].output(numerator, denominator, degree, bias)


@operator("gnnrec::attention_output_backward")
def _output_backward(
    gradient: Tensor, numerator: Tensor, denominator: Tensor, degree: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _KERNELS[numerator.device.type].output_backward(gradient, numerator, denominator, degree)


@operator("gnnrec::kept_denominator")
def _kept(whole: Tensor, change: Tensor) -> Tensor:
    return _KERNELS[whole.device.type].kept(whole, change)


@operator("gnnrec::kept_denominator_backward")
def _kept_backward(gradient: Tensor, whole: Tensor, kept: Tensor) -> Tensor:
    return _KERNELS[whole.device.type].kept_backward(gradient, whole, kept)


@operator("gnnrec::attention_totals")
def _totals(numerator: Tensor, by_level: Tensor, rating: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    return _KERNELS[numerator.device.type].totals(numerator, by_level, rating, scale)


@operator("gnnrec::attention_totals_backward")
def _totals_backward(
    gradient: Tensor, denominator_gradient: Tensor, rating: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor]:
    kernels = _KERNELS[gradient.device.type]
    return kernels.totals_backward(gradient, denominator_gradient, rating, scale)


@_totals.dispatched.register_fake
def _(numerator, by_level, rating, scale):
    return torch.empty_like(numerator), numerator.new_empty(by_level.shape[:2])


@_totals_backward.dispatched.register_fake
def _(gradient, denominator_gradient, rating, scale):
    return torch.empty_like(gradient), gradient.new_empty(*denominator_gradient.shape, rating.shape[0])


@_output.dispatched.register_fake
def _(numerator, denominator, degree, bias):
    return torch.empty_like(numerator)


@_output_backward.dispatched.register_fake
def _(gradient, numerator, denominator, degree):
    return torch.empty_like(numerator), torch.empty_like(denominator)


@_kept.dispatched.register_fake
def _(whole, change):
    return torch.empty_like(whole)


@_kept_backward.dispatched.register_fake
def _(gradient, whole, kept):
    return torch.empty_like(whole)


def _keep_inputs(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx, gradient: Tensor):
    by_numerator, by_denominator = _output_backward.dispatched(gradient, *ctx.saved_tensors)
    return by_numerator, by_denominator, None, gradient.sum(0)


def _keep_kept(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[0], output)


def _backward_of_kept(ctx, gradient: Tensor):
    return None, _kept_backward.dispatched(gradient, *ctx.saved_tensors)


def _keep_levels(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward_of_totals(ctx, gradient: Tensor, denominator_gradient: Tensor):
    by_level, rating, scale = ctx.saved_tensors
    by_numerator, by_levels = _totals_backward.dispatched(gradient, denominator_gradient, rating, scale)
    receivers, heads, _ = by_level.shape
    of_head = by_numerator.view(receivers, heads, rating.shape[1] // heads)
    by_rating = torch.bmm(by_level.permute(1, 2, 0), of_head.permute(1, 0, 2))
    return by_numerator, by_levels, by_rating.transpose(0, 1).reshape(rating.shape), None


_totals.dispatched.register_autograd(_backward_of_totals, setup_context=_keep_levels)
_output.dispatched.register_autograd(_backward, setup_context=_keep_inputs)
_kept.dispatched.register_autograd(_backward_of_kept, setup_context=_keep_kept)
