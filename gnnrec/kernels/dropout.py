"""Dropout whose masks are functions of global rows, alone and fused with tanh, as torch operators.

Masks are those of :func:`gnnrec.rng.dropout_mask`. Backward draws them again, so they are never stored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, dropout_reference
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("dropout", dropout_reference)


def dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """Applies inverted dropout: ``states / (1 - rate)``, or 0 for dropped values.

    Args:
        states: Float ``[n, channels]``; differentiable.
        rows: Global rows, int64 ``[n]``.
        stream: Key from :func:`gnnrec.rng.key`, different for every step and place in the model.
        rate: Dropout rate, in ``[0, 1)``.
    """
    return _dropout(states, rows, stream, rate)


def tanh_dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """Applies :func:`dropout` to ``tanh(states)``."""
    return _tanh_dropout(states, rows, stream, rate)


@operator("gnnrec::dropout")
def _dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    return _kernels(states).dropout(states, rows, stream, rate)


@operator("gnnrec::tanh_dropout")
def _tanh_dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    return _kernels(states).tanh_dropout(states, rows, stream, rate)


@operator("gnnrec::tanh_dropout_backward")
def _tanh_dropout_backward(gradient: Tensor, out: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    return _kernels(out).tanh_dropout_backward(gradient, out, rows, stream, rate)


def _kernels(states: Tensor):
    if states.dtype == torch.bfloat16 and states.device.type == "cpu":  # not supported by numba
        return dropout_reference
    return _KERNELS[states.device.type]


@_dropout.dispatched.register_fake
def _(states, rows, stream, rate):
    return torch.empty_like(states, memory_format=torch.contiguous_format)


@_tanh_dropout.dispatched.register_fake
def _(states, rows, stream, rate):
    return torch.empty_like(states, memory_format=torch.contiguous_format)


@_tanh_dropout_backward.dispatched.register_fake
def _(gradient, out, rows, stream, rate):
    return torch.empty_like(out)


def _keep(ctx, inputs, output) -> None:
    _, rows, ctx.stream, ctx.rate = inputs
    ctx.save_for_backward(rows)


def _keep_output(ctx, inputs, output) -> None:
    _, rows, ctx.stream, ctx.rate = inputs
    ctx.save_for_backward(rows, output)


def _backward(ctx, gradient: Tensor):
    (rows,) = ctx.saved_tensors
    return _dropout.dispatched(gradient, rows, ctx.stream, ctx.rate), None, None, None


def _backward_through_tanh(ctx, gradient: Tensor):
    rows, out = ctx.saved_tensors
    return _tanh_dropout_backward.dispatched(gradient, out, rows, ctx.stream, ctx.rate), None, None, None


_dropout.dispatched.register_autograd(_backward, setup_context=_keep)
_tanh_dropout.dispatched.register_autograd(_backward_through_tanh, setup_context=_keep_output)
