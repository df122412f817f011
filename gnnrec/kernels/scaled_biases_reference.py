"""Reference implementation of :mod:`gnnrec.kernels.scaled_biases` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def scaled_biases(
    user: Tensor, movie: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.scaled_biases.scaled_biases`."""
    factor = softplus(multiple)
    return user + factor * closed_user, movie + factor * closed_movie


def by_multiple(
    gradient: Tensor, movie_gradient: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> Tensor:
    """Computes the derivative by ``multiple``, a scalar."""
    return (gradient @ closed_user + movie_gradient @ closed_movie) * torch.sigmoid(multiple)
