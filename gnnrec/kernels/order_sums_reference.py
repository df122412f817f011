"""Reference implementation of :mod:`gnnrec.kernels.order_sums`, one user at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def order_sums(
    pointer: Tensor, movie: Tensor, weight: Tensor, columns: int, decay: float, reach: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.order_sums.order_sums`."""
    products, successors = (torch.zeros(columns, columns, dtype=torch.float64) for _ in range(2))
    for user in range(len(pointer) - 1):
        own = movie[pointer[user] : pointer[user + 1]].long()
        place = torch.arange(len(own))
        age = place[:, None] - 1 - place  # of the movie of a column before the movie of a row
        history = torch.where(age >= 0, decay ** age.double(), 0.0)
        near = (place[:, None] - place).abs() <= reach
        products[own[:, None], own] += weight[user] * torch.where(near, history.T @ history, 0.0)
        successors[own[:, None], own] += weight[user] * torch.where(near, history, 0.0).T
    return products.to(dtype), successors.to(dtype)
