"""Reference implementation of :mod:`gnnrec.kernels.errors` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_errors(
    score: Tensor, offset: Tensor, rating: Tensor, bias: Tensor | None, factor: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.errors.squared_errors`: the sum, and its derivatives."""
    error = offset + score - rating
    if bias is None:
        by_score = 2 * error
        return error.square().sum(), by_score, by_score.sum().view(1)
    timed = error + bias @ factor
    by_score = error + timed
    return (
        (error.square().sum() + timed.square().sum()) / 2,
        by_score,
        torch.cat([by_score.sum().view(1), timed @ bias]),
    )
