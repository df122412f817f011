"""What :mod:`gnnrec.kernels.statistics` computes, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.edges import Edges, Residuals, Windows
from gnnrec.kernels.ragged import offsets, owners


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ratings and their sums by fold: of users ``[folds, users]``, of movies ``[movies, folds]``."""
    users = edges.pointer.numel() - 1
    fold, rating = edges.fold.to(torch.int64), edges.rating.to(torch.float64)
    by_user = fold * users + owners(edges.pointer)
    by_movie = edges.movie.to(torch.int64) * folds + fold
    found = []
    for slot, shape in ((by_user, (folds, users)), (by_movie, (edges.movies, folds))):
        size = shape[0] * shape[1]
        found.append(torch.bincount(slot, minlength=size).to(torch.int32).view(shape))
        found.append(torch.bincount(slot, weights=rating, minlength=size).view(shape))
    return tuple(found)


def bias_sweep(
    edges: Edges, excluded: int, movie_bias: Tensor, user_total: Tensor, user_degree: Tensor, shrinkage: float
) -> tuple[Tensor, Tensor]:
    """Biases of users given those of movies, ``[users]``, and what the raters of each movie sum up to, ``[movies]``."""
    carried = edges.fold != excluded
    owner, movie = owners(edges.pointer)[carried], edges.movie[carried]
    others = torch.zeros_like(user_total).index_add_(0, owner, movie_bias[movie])
    bias = (user_total - others) / (user_degree + shrinkage)
    return bias, torch.zeros_like(movie_bias).index_add_(0, movie, bias[owner])


def year_sums(edges: Edges, excluded: int, user_base: Tensor, movie_bias: Tensor, half: int, halves: int) -> Tensor:
    """Sums of residuals and numbers of edges in the half bins of each movie, ``[movies, halves, 2]``."""
    carried = edges.fold != excluded
    left = edges.rating - user_base[owners(edges.pointer)] - movie_bias[edges.movie]
    cell = (edges.movie.to(torch.int64) * halves + edges.time // half)[carried]
    both = torch.stack([left[carried], torch.ones_like(left[carried])], 1)
    return left.new_zeros(edges.movies * halves, 2).index_add_(0, cell, both).view(edges.movies, halves, 2)


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor | None,
    windows: Windows | None,
    group: Tensor,
    kept: Tensor,
    scale: float,
    slots: bool,
    stages: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    owner, included = owners(edges.pointer), edges.fold != excluded
    left = edges.rating - user_base[owner] - movie_bias[edges.movie]
    effects, before = [], []
    if years is not None:
        # A rating has no part in the effect on itself.
        own = 2 * included.to(left.dtype)
        total, count = years[edges.movie, edges.time // windows.movie_half].unbind(1)
        effects.append((total - own * left) / (count + windows.movie_shrinkage - own))
        left = left - effects[-1]
        for half, shrinkage in zip(windows.user_halves, windows.user_shrinkages):
            before.append(left)
            both = _window_sums(edges, torch.stack([left * included, included.to(left.dtype)]), half, owner, edges.time)
            effects.append((both[0] - own * left) / (both[1] + shrinkage - own))
            left = left - effects[-1]
    carried, target = included & kept[group.to(torch.int64)], ~included
    slot = None
    if slots:
        slot = torch.where(carried, carried.cumsum(0) - 1, -1).to(torch.int32)
    return Residuals(
        pointer=offsets(carried)[edges.pointer],
        movie=edges.movie[carried],
        residual=scale * left[carried],
        level=edges.level[carried],
        slot=slot,
        target_pointer=offsets(num_targets),
        target_movie=edges.movie[target],
        target_rating=edges.rating[target],
        target_effect=torch.stack(effects, 1)[target] if effects else None,
        stages=torch.stack(before) if before and stages else None,
    )


def _window_sums(edges: Edges, values: Tensor, half: int, user: Tensor, time: Tensor) -> Tensor:
    """Sums of ``values`` ``[kinds, edges]`` over both bins of users at given times, ``[kinds, queries]``.

    Edges are sorted by user and time, so that a bin is a stretch, and its sum a difference of running sums.
    """
    span = int(max(edges.time.max(), time.max())) + 3 * half if time.numel() and edges.time.numel() else 1
    # Two half bins are put before every user's first, which no query reaches from below.
    key = owners(edges.pointer).to(torch.int64) * span * 2 + edges.time + 2 * half
    running = torch.zeros(len(values), key.numel() + 1, dtype=torch.float64, device=key.device)
    torch.cumsum(values.to(torch.float64), 1, out=running[:, 1:])
    base = user.to(torch.int64) * span * 2 + torch.div(time, half, rounding_mode="floor") * half + 2 * half
    before, here, after, end = (torch.searchsorted(key, base + step * half) for step in (-1, 0, 1, 2))
    both = running[:, end] - running[:, before] + running[:, after] - running[:, here]
    return both.to(values.dtype)


def level_sums(
    pointer: Tensor,
    movie: Tensor,
    level: Tensor,
    shape: tuple[int, int],
    scale: Tensor | None,
    to_users: bool,
    dtype: torch.dtype,
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.level_sums`."""
    owner = owners(pointer)
    receiver, sender = (owner, movie) if to_users else (movie, owner)
    slot = receiver.to(torch.int64) * shape[1] + level
    value = torch.ones(slot.numel(), dtype=dtype, device=slot.device) if scale is None else scale[sender].to(dtype)
    return torch.zeros(shape[0] * shape[1], dtype=dtype, device=slot.device).index_add_(0, slot, value).view(shape)


def window_sums(edges: Edges, left: Tensor, half: int, query_pointer: Tensor, query_time: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    values = torch.stack([left, torch.ones_like(left)])
    return _window_sums(edges, values, half, owners(query_pointer), query_time).T
