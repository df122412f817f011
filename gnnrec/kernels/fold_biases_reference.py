"""Reference implementation of :mod:`gnnrec.kernels.fold_biases` in plain torch, one lane at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.edges import Edges, TimeBins
from gnnrec.kernels.ragged import owners


def _carried(edges: Edges, fold: int) -> Tensor:
    """Returns the edges outside a fold, bool ``[edges]``."""
    return edges.fold.to(torch.int16) != fold


def bias_sweep(
    edges: Edges,
    folds: range,
    movie_bias: Tensor,
    user_total: Tensor,
    user_degree: Tensor,
    shrinkage: float,
    sums: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.fold_biases.bias_sweep`."""
    user, bias, movie_sums = owners(edges.pointer), torch.empty_like(user_total), torch.zeros_like(movie_bias)
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        owner, movie = user[carried], edges.movie[carried]
        others = torch.zeros_like(user_total[:, lane]).index_add_(0, owner, movie_bias[movie, lane])
        bias[:, lane] = (user_total[:, lane] - others) / (user_degree[:, lane] + shrinkage)
        if sums:
            movie_sums[:, lane].index_add_(0, movie, bias[owner, lane])
    return bias, movie_sums if sums else None


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """See :func:`gnnrec.kernels.fold_biases.year_sums`."""
    user, sums = owners(edges.pointer), movie_bias.new_zeros(cells, 2, len(folds))
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        left = (edges.rating - user_base[user, lane] - movie_bias[edges.movie, lane])[carried]
        both = torch.stack([left, torch.ones_like(left)], 1)
        sums[:, :, lane].index_add_(0, edges.bins.cell[carried], both)
    return sums


def temporal_biases(
    edges: Edges,
    folds: range,
    num_targets: Tensor,
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor,
    windows: TimeBins,
    stages: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.fold_biases.temporal_biases`."""
    user, biases, before = owners(edges.pointer), [], []
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        left = edges.rating - user_base[user, lane] - movie_bias[edges.movie, lane]
        # A rating is excluded from its own temporal bias.
        own = 2 * carried.to(left.dtype)
        total, count = years[edges.bins.cell, :, lane].unbind(1)
        of_lane = [(total - own * left) / (count + windows.movie_shrinkage - own)]
        left = left - of_lane[0]
        for window, shrinkage in enumerate(windows.user_shrinkages):
            before.append(left)
            values = torch.stack([left * carried, carried.to(left.dtype)], 1)
            total, count = _both_bins(edges.bins.steps, window, values).unbind(1)
            of_lane.append((total - own * left) / (count + shrinkage - own))
            left = left - of_lane[-1]
        biases.append(torch.stack(of_lane, 1)[~carried])
    return torch.cat(biases), torch.stack(before) if stages else None


def _both_bins(steps: Tensor, window: int, values: Tensor) -> Tensor:
    """Sums ``values`` ``[edges, kinds]`` over both bins of the user for each edge, ``[edges, kinds]``."""
    starts, follows = (steps & (bit << (2 * window)) != 0 for bit in (1, 2))
    place = starts.cumsum(0) - 1
    bins = values.new_zeros(int(starts.sum()) + 1, values.shape[1]).index_add_(0, place, values)
    joined = torch.cat([follows[starts], follows.new_zeros(1)]).to(values.dtype).unsqueeze(1)
    both = 2 * bins
    both[1:] += joined[1:] * bins[:-1]
    both[:-1] += joined[1:] * bins[1:]
    return both[place]
