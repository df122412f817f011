"""What follows the sums of attention on devices, as torch operators: one kernel each way."""

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


_output.dispatched.register_autograd(_backward, setup_context=_keep_inputs)
_kept.dispatched.register_autograd(_backward_of_kept, setup_context=_keep_kept)
