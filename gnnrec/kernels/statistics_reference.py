"""Reference implementation of :mod:`gnnrec.kernels.statistics` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.edges import Edges, Residuals, TimeBins
from gnnrec.kernels.ragged import offsets, owners


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.fold_sums`."""
    users = edges.pointer.numel() - 1
    fold, rating = edges.fold.to(torch.int64), edges.rating.to(torch.float64)
    by_user = fold * users + owners(edges.pointer, entries=fold.numel())
    by_movie = edges.movie.to(torch.int64) * folds + fold
    sums = []
    for cell, shape in ((by_user, (folds, users)), (by_movie, (edges.movies, folds))):
        size = shape[0] * shape[1]
        sums.append(torch.bincount(cell, minlength=size).to(torch.int32).view(shape))
        # Without edges, the result is integral.
        sums.append(torch.bincount(cell, weights=rating, minlength=size).to(torch.float64).view(shape))
    return tuple(sums)


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
    slots: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    target = edges.fold == excluded if excluded >= 0 else torch.zeros_like(edges.fold, dtype=torch.bool)
    carried = ~target if group is None else ~target & kept[group.to(torch.int64)]
    num_messages, targets_of_all = sizes or (int(carried.sum()), int(target.sum()))
    # The sizes are known, so the host does not wait for the device.
    sent = torch.nonzero_static(carried, size=num_messages).squeeze(1)
    held_out = torch.nonzero_static(target, size=targets_of_all).squeeze(1)
    user, movie = owners(edges.pointer, entries=edges.movie.numel())[sent], edges.movie[sent]
    slot = None
    if slots:
        others = torch.where(target, -1 - target.cumsum(0), -1)
        slot = torch.where(carried, carried.cumsum(0) - 1, others).to(torch.int32)
    return Residuals(
        pointer=offsets(carried)[edges.pointer],
        movie=movie,
        residual=scale * (edges.rating[sent] - user_base[user] - movie_bias[movie]),
        level=edges.level[sent],
        slot=slot,
        target_pointer=offsets(num_targets),
        target_movie=edges.movie[held_out],
        target_rating=edges.rating[held_out],
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
    """See :func:`gnnrec.kernels.statistics.level_sums`."""
    owner = owners(pointer, torch.int64 if to_users else torch.int32, movie.numel())
    receiver, sender = (owner, movie) if to_users else (movie.to(torch.int64), owner)
    slot = torch.add(level, receiver, alpha=shape[1])
    value = torch.ones(slot.numel(), dtype=dtype, device=slot.device) if scale is None else scale[sender].to(dtype)
    return torch.zeros(shape[0] * shape[1], dtype=dtype, device=slot.device).index_add_(0, slot, value).view(shape)


def window_sums(
    pointer: Tensor, time: Tensor, left: Tensor, half_width: int, query_pointer: Tensor, query_time: Tensor
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.window_sums`."""
    # Edges are sorted by user and time, so a half-width bin is a range of edges, and its sum a difference of cumulative
    # sums. Query times can be up to two half-width bins outside those of any edge.
    span, shift = 2**33, 2**32
    key = owners(pointer, entries=time.numel()).to(torch.int64) * span + time + shift
    running = torch.zeros(2, key.numel() + 1, dtype=torch.float64, device=key.device)
    torch.cumsum(torch.stack([left, torch.ones_like(left)]).to(torch.float64), 1, out=running[:, 1:])
    first = torch.div(query_time.to(torch.int64), half_width, rounding_mode="floor") * half_width
    base = owners(query_pointer, entries=query_time.numel()).to(torch.int64) * span + first + shift
    before, here, after, end = (torch.searchsorted(key, base + step * half_width) for step in (-1, 0, 1, 2))
    both = running[:, end] - running[:, before] + running[:, after] - running[:, here]
    return both.to(left.dtype).T


def time_bins(pointer: Tensor, time: Tensor, windows: TimeBins) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.time_bins`."""
    first = torch.zeros(time.numel() + 1, dtype=torch.bool, device=time.device)
    first[pointer[:-1]] = True
    first, steps = first[:-1], torch.zeros_like(time, dtype=torch.uint8)
    for window, half_width in enumerate(windows.user_half_widths):
        number = torch.div(time, half_width, rounding_mode="floor")
        change = torch.diff(number, prepend=number[:1])
        starts = first | (change != 0)
        follows = (starts & ~first & (change == 1))[starts][starts.cumsum(0) - 1]
        steps |= (starts.to(torch.uint8) | (follows.to(torch.uint8) << 1)) << (2 * window)
    return torch.div(time, windows.movie_half_width, rounding_mode="floor").to(torch.uint8), steps
