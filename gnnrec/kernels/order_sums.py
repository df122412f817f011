"""Sums for a ridge regression from decayed histories to the next movie."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import order_sums_reference
from gnnrec.kernels.dispatch import choose


def order_sums(
    pointer: Tensor, movie: Tensor, weight: Tensor, columns: int, decay: float, reach: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Computes ``sum_t w h_t h_t'`` and ``sum_t w h_t e(m_t)'`` over the movies of all users but the first ones.

    ``m_0, m_1, ...`` are the movies of a user from the oldest on, ``e`` unit vectors, ``w`` the user's weight, and
    ``h_t = e(m_t-1) + decay * e(m_t-2) + decay^2 * e(m_t-3) + ...`` the history before a movie. Pairs of movies
    that are more than ``reach`` apart are left out of both sums.

    Args:
        pointer: Start of the movies of each user, int64 ``[users + 1]``, on the CPU.
        movie: Movie rows, from the oldest to the newest of each user, int32 ``[ratings]``; different for one user.
        weight: Weight of each user, float64 ``[users]``.
        columns: Movies.
        decay: Factor of one place, above 0 and below 1.
        reach: Largest distance of two movies.
        dtype: Type of the result: float32 or float64.

    Returns:
        Two matrices ``[columns, columns]``; the first is symmetric.
    """
    kernels = choose(torch.device("cpu"), "order_sums", order_sums_reference)
    return kernels.order_sums(pointer, movie, weight, columns, decay, reach, dtype)
