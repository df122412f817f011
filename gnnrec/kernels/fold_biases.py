"""Closed-form biases and temporal biases of several folds at once.

Statistics of a pass exclude the edges of its fold. They do not depend on weights, so one reading of the edges serves
several folds: each is a *lane* of all sums, and an edge is in every lane but the one of its own fold. ``folds`` are the
folds of the lanes, of which there are one of :data:`WIDTHS`. Lanes past the last fold, and the lane of fold -1, exclude
no edge.

Loops compiled by numba on CPUs, Triton kernels on GPUs, and :mod:`gnnrec.kernels.fold_biases_reference` in plain torch
elsewhere.
"""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, fold_biases_reference
from gnnrec.kernels.edges import Edges, TimeBins

#: Numbers of lanes for which loops are compiled.
WIDTHS = (16, 8, 4, 1)

_KERNELS = dispatch.KernelTable("fold_biases", fold_biases_reference)


def bias_sweep(
    edges: Edges,
    folds: range,
    movie_bias: Tensor,
    user_total: Tensor,
    user_degree: Tensor,
    shrinkage: float,
    sums: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Computes user biases ``b_u = (user_total_u - sum of b_m) / (user_degree_u + shrinkage)`` in every lane.

    Args:
        edges: The edges.
        folds: Folds of the lanes.
        movie_bias: float ``[movies, lanes]``.
        user_total: float ``[users, lanes]``.
        user_degree: float ``[users, lanes]``.
        shrinkage: Pseudo-ratings.
        sums: Also sum the biases of the raters of movies.

    Returns:
        The biases, float ``[users, lanes]``, and with ``sums`` their sums over the raters of each movie, float
        ``[movies, lanes]``.
    """
    kernels = _KERNELS[edges.movie.device.type]
    return kernels.bias_sweep(edges, folds, movie_bias, user_total, user_degree, shrinkage, sums)


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """Sums ``rating - user_base - movie_bias`` and counts edges in half-width bins of movies.

    Args:
        edges: The edges.
        folds: Folds of the lanes.
        user_base: Mean plus bias of each user, float ``[users, lanes]``.
        movie_bias: float ``[movies, lanes]``.
        cells: Number of cells (:attr:`gnnrec.kernels.edges.EdgeTimeBins.cell`).

    Returns:
        Sums and counts, float ``[cells, 2, lanes]``.
    """
    return _KERNELS[edges.movie.device.type].year_sums(edges, folds, user_base, movie_bias, cells)


def both_bins(sums: Tensor, follows: Tensor) -> Tensor:
    """Computes sums over both bins (:class:`~gnnrec.kernels.edges.TimeBins`) from sums over half-width bins.

    Args:
        sums: Float ``[half-width bins, ...]``, sorted by movie, then time.
        follows: Whether each is adjacent to the one before and of the same movie, bool ``[half-width bins]``.
    """
    both = 2 * sums
    adjacent = follows[1:].to(sums.dtype).view(-1, *[1] * (sums.dim() - 1))
    both[1:].addcmul_(adjacent, sums[:-1])
    both[:-1].addcmul_(adjacent, sums[1:])
    return both


def temporal_biases(
    edges: Edges,
    folds: range,
    num_targets: Tensor,
    target_ptr: list[int],
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor,
    windows: TimeBins,
    stages: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Computes the temporal biases of the edges of each fold from the edges of all others.

    Args:
        edges: The edges.
        folds: Folds of the lanes.
        num_targets: Edges of each user in each of the folds, ``[lanes, users]``.
        target_ptr: Start of the edges of each fold in the result, ``[lanes + 1]``.
        user_base: Mean plus bias of each user, float ``[users, lanes]``.
        movie_bias: float ``[movies, lanes]``.
        years: Result of :func:`both_bins` for :func:`year_sums`.
        windows: The bins.
        stages: Return the residuals, less the temporal biases before each window of users; only with one lane.

    Returns:
        Temporal biases of the edges of these folds, sorted by fold, then user, float ``[targets, 1 + windows]``, and
        the residuals, float ``[windows, edges]``, or None.
    """
    kernels = _KERNELS[edges.movie.device.type]
    return kernels.temporal_biases(edges, folds, num_targets, target_ptr, user_base, movie_bias, years, windows, stages)
