"""Reference implementation of :mod:`gnnrec.kernels.random` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng


def small_integers(stream: int, ids: Tensor, below: int) -> Tensor:
    """See :func:`gnnrec.kernels.random.small_integers`."""
    return rng.integers(stream, ids, below).to(torch.uint8)
