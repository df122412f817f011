"""What edges say by themselves: sums by fold, closed-form biases, effects of time, and what they leave of ratings.

Compiled loops on the CPU; :mod:`gnnrec.kernels.statistics_reference` says what they compute, in plain torch, and runs
elsewhere. ``excluded`` is the fold whose edges have no part in anything; -1 excludes none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, statistics_reference
from gnnrec.kernels.edges import Edges, EdgeTimeBins, Residuals, TimeBins


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ratings and their sums by fold.

    Returns:
        Numbers (int32) and sums (float64) of users, ``[folds, users]`` both, and of movies, ``[movies, folds]`` both.
    """
    return _kernels(edges).fold_sums(edges, folds)


def bias_sweep(
    edges: Edges,
    excluded: int,
    movie_bias: Tensor,
    user_total: Tensor,
    user_degree: Tensor,
    shrinkage: float,
    sums: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """``b_u = (user_total_u - sum of b_m) / (user_degree_u + shrinkage)``.

    Returns:
        The biases of users, float ``[users]``, and where ``sums`` are wanted those over the raters of each movie, float
        ``[movies]``.
    """
    return _kernels(edges).bias_sweep(edges, excluded, movie_bias, user_total, user_degree, shrinkage, sums)


def year_sums(edges: Edges, excluded: int, user_base: Tensor, movie_bias: Tensor, windows: TimeBins) -> Tensor:
    """Sums of ``rating - user_base - movie_bias`` and numbers of edges, float ``[movies, half bins, 2]``."""
    return _kernels(edges).year_sums(edges, excluded, user_base, movie_bias, windows.movie_halves)


def both_bins(sums: Tensor) -> Tensor:
    """Sums over the two bins of each moment from sums over half bins, ``[movies, half bins, 2]`` both."""
    both = 2 * sums
    both[:, 1:] += sums[:, :-1]
    both[:, :-1] += sums[:, 1:]
    return both


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor | None,
    windows: TimeBins | None,
    group: Tensor | None,
    kept: Tensor | None,
    scale: float,
    slots: bool = False,
    stages: bool = False,
) -> Residuals:
    """What is left of ratings, cut into messages and the targets of the excluded fold.

    Args:
        edges: The edges.
        excluded: The fold.
        num_targets: Edges of each user in that fold, ``[users]``.
        user_base: Mean plus bias of each user, float ``[users]``.
        movie_bias: float ``[movies]``.
        years: What :func:`both_bins` returns; None where time plays no part.
        windows: The bins.
        group: Group of each edge, uint8 ``[edges]``; None where all edges carry messages.
        kept: Which groups carry messages, bool ``[groups]``, or None.
        scale: Factor of the residuals of messages.
        slots: Say which message each edge is.
        stages: Keep what is left before each window of users.
    """
    return _kernels(edges, "residuals").residuals(
        edges, excluded, num_targets, user_base, movie_bias, years, windows, group, kept, scale, slots, stages
    )


def level_sums(
    pointer: Tensor,
    movie: Tensor,
    level: Tensor,
    shape: tuple[int, int],
    scale: Tensor | None,
    to_users: bool,
    dtype: torch.dtype,
) -> Tensor:
    """Messages of each receiver at each rating level, or the sums of their senders' ``scale``.

    Args:
        pointer: Where the messages of each user start, int64 ``[users + 1]``.
        movie: int32 ``[messages]``.
        level: uint8 ``[messages]``.
        shape: Receivers and levels.
        scale: float ``[senders]``; None for ones.
        to_users: Users receive; otherwise movies do.
        dtype: Of the result, ``shape``.
    """
    kernels = dispatch.choose(pointer.device, "statistics", statistics_reference)
    return kernels.level_sums(pointer, movie, level, shape, scale, to_users, dtype)


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """Sums of ``left`` and numbers of edges in both bins of a user at given times.

    Args:
        pointer: Where the edges of each user start, int64 ``[users + 1]``.
        time: Seconds by the clock, ascending within a user, int32 ``[edges]``.
        left: float ``[edges]``.
        half: Seconds of half a bin.
        query_pointer: Where the times of each user start, int64 ``[users + 1]``.
        query_time: Seconds by the clock, int32 ``[queries]``, in any order.

    Returns:
        float ``[queries, 2]``.
    """
    kernels = dispatch.choose(pointer.device, "time", statistics_reference)
    return kernels.window_sums(pointer, time, left, half, query_pointer, query_time)


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> EdgeTimeBins:
    """The half bins of edges.

    Args:
        pointer: Where the edges of each user start, int64 ``[users + 1]``.
        time: Seconds by the clock, at least 0, ascending within a user, int32 ``[edges]``.
        windows: The bins.
    """
    return dispatch.choose(pointer.device, "time", statistics_reference).time_bins(pointer, time, windows)


def _kernels(edges: Edges, name: str = "statistics"):
    return dispatch.choose(edges.movie.device, name, statistics_reference)
