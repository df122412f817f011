"""Reference implementation of :mod:`gnnrec.kernels.degrees` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_scale(total: Tensor, degree: Tensor | None) -> Tensor:
    """See :func:`gnnrec.kernels.degrees.mean_scale`."""
    scale = 1 / total.clamp(min=1)
    return scale if degree is None else degree.sqrt() * scale


def inverse_root(degree: Tensor, added: int) -> Tensor:
    """See :func:`gnnrec.kernels.degrees.inverse_root`."""
    degree = degree + 1 if added else degree
    return torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), 0)
