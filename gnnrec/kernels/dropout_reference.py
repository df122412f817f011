"""Reference implementation of :mod:`gnnrec.kernels.dropout` in plain torch."""

from __future__ import annotations

from torch import Tensor

from gnnrec import rng


def dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.dropout`."""
    mask = rng.dropout_mask(stream, rows, states.shape[1], rate)
    return states * mask.to(states.dtype).mul_(1 / (1 - rate))


def tanh_dropout(states: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """See :func:`gnnrec.kernels.dropout.tanh_dropout`."""
    return dropout(states.tanh(), rows, stream, rate)


def tanh_dropout_backward(gradient: Tensor, out: Tensor, rows: Tensor, stream: int, rate: float) -> Tensor:
    """Computes the gradient of :func:`tanh_dropout` from its output, which is ``tanh / (1 - rate)`` where kept."""
    return dropout(gradient, rows, stream, rate) * (1 - (out * (1 - rate)).square())
