"""Statistics of edges: sums by fold, residuals, rating levels, and bins of time.

Loops compiled by numba on CPUs, Triton kernels on GPUs, and :mod:`gnnrec.kernels.statistics_reference` in plain torch
elsewhere.
:mod:`gnnrec.kernels.fold_biases` has the biases from which residuals are computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, statistics_reference
from gnnrec.kernels.edges import Edges, Residuals, TimeBins

_KERNELS = dispatch.KernelTable("statistics", statistics_reference)
_RESIDUALS = dispatch.KernelTable("residuals", statistics_reference)
_TIME = dispatch.KernelTable("time", statistics_reference)


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts and sums ratings by fold.

    Returns:
        Counts (int32) and sums (float64) of users, ``[folds, users]`` both, and of movies, ``[movies, folds]`` both.
    """
    return _KERNELS[edges.movie.device.type].fold_sums(edges, folds)


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    sizes: tuple[int, int] | None,
    user_base: Tensor,
    movie_bias: Tensor,
    group: Tensor | None,
    kept: Tensor | None,
    scale: float,
    slots: bool = False,
) -> Residuals:
    """Computes residuals, split into messages and the targets of the excluded fold.

    Messages keep what depends on time, so that vectors need no clock.

    Args:
        edges: The edges.
        excluded: The fold; -1 for none.
        num_targets: Edges of each user in this fold, ``[users]``.
        sizes: Numbers of messages and of targets; None on the CPU, where counting them costs nothing.
        user_base: Mean plus bias of each user, float ``[users]``.
        movie_bias: float ``[movies]``.
        group: Dropout group of each edge, uint8 ``[edges]``; None without message dropout.
        kept: True for groups that carry messages, bool ``[groups]``, or None.
        scale: Factor of the residuals of messages.
        slots: Return the message or target of each edge.
    """
    return _RESIDUALS[edges.movie.device.type].residuals(
        edges, excluded, num_targets, sizes, user_base, movie_bias, group, kept, scale, slots
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
    """Counts the messages of each receiver at each rating level, or sums their senders' ``scale``.

    Args:
        pointer: Start of the messages of each user, int64 ``[users + 1]``.
        movie: int32 ``[messages]``.
        level: uint8 ``[messages]``.
        shape: Receivers and levels.
        scale: float ``[senders]``; None for ones.
        to_users: Users receive; otherwise movies do.
        dtype: Type of the result, ``shape``.
    """
    kernels = _KERNELS[pointer.device.type]
    return kernels.level_sums(pointer, movie, level, shape, scale, to_users, dtype)


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half_width: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """Sums ``left`` and counts edges in both bins of a user at given times.

    Args:
        pointer: Start of the edges of each user, int64 ``[users + 1]``.
        time: Seconds by the clock, ascending within a user, int32 ``[edges]``.
        left: Residuals, float ``[edges]``.
        half_width: Seconds of a half-width bin.
        query_pointer: Start of the query times of each user, int64 ``[users + 1]``.
        query_time: Seconds by the clock, int32 ``[queries]``, in any order.

    Returns:
        float ``[queries, 2]``.
    """
    kernels = _TIME[pointer.device.type]
    return kernels.window_sums(pointer, time, left, half_width, query_pointer, query_time)


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> tuple[Tensor, Tensor]:
    """Computes the half-width bins of edges.

    Args:
        pointer: Start of the edges of each user, int64 ``[users + 1]``.
        time: Seconds by the clock, at least 0, ascending within a user, int32 ``[edges]``.
        windows: The bins.

    Returns:
        Half-width bins of movies, uint8 ``[edges]``, and :attr:`gnnrec.kernels.edges.EdgeTimeBins.steps`.
    """
    return _TIME[pointer.device.type].time_bins(pointer, time, windows)
