"""Reference implementation of :mod:`gnnrec.kernels.fold_biases` in plain torch, one lane at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.edges import Edges, TimeBins
from gnnrec.kernels.ragged import owners


def _carried(edges: Edges, fold: int) -> Tensor:
    """Returns ones for the edges outside a fold and zeros for its own, float ``[edges]``.

    Sums multiply by them: a selection would have a size that only the device knows, and the host would wait for it.
    """
    return (edges.fold.to(torch.int16) != fold).to(edges.rating.dtype)


def _owners(edges: Edges) -> Tensor:
    return owners(edges.pointer, entries=edges.movie.numel())


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
    user, bias, movie_sums = _owners(edges), torch.empty_like(user_total), torch.zeros_like(movie_bias)
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        others = torch.zeros_like(user_total[:, lane])
        others.index_add_(0, user, carried * movie_bias[edges.movie, lane])
        bias[:, lane] = (user_total[:, lane] - others) / (user_degree[:, lane] + shrinkage)
        if sums:
            movie_sums[:, lane].index_add_(0, edges.movie, carried * bias[user, lane])
    return bias, movie_sums if sums else None


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """See :func:`gnnrec.kernels.fold_biases.year_sums`."""
    user, sums = _owners(edges), movie_bias.new_zeros(cells, 2, len(folds))
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        left = edges.rating - user_base[user, lane] - movie_bias[edges.movie, lane]
        sums[:, :, lane].index_add_(0, edges.bins.cell, torch.stack([left * carried, carried], 1))
    return sums


def temporal_biases(
    edges: Edges,
    folds: range,
    num_targets: Tensor,
    target_ptr: list[int],
    user_base: Tensor,
    movie_bias: Tensor,
    years: Tensor,
    windows: TimeBins,
    stages: bool,
) -> tuple[Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.fold_biases.temporal_biases`."""
    user, biases, before = _owners(edges), [], []
    for lane, fold in enumerate(folds):
        carried = _carried(edges, fold)
        left = edges.rating - user_base[user, lane] - movie_bias[edges.movie, lane]
        # A rating is excluded from its own temporal bias.
        own = 2 * carried
        total, count = years[edges.bins.cell, :, lane].unbind(1)
        of_lane = [(total - own * left) / (count + windows.movie_shrinkage - own)]
        left = left - of_lane[0]
        for window, shrinkage in enumerate(windows.user_shrinkages):
            before.append(left)
            values = torch.stack([left * carried, carried], 1)
            total, count = _both_bins(edges.bins.steps, window, values).unbind(1)
            of_lane.append((total - own * left) / (count + shrinkage - own))
            left = left - of_lane[-1]
        targets = torch.nonzero_static(carried == 0, size=target_ptr[lane + 1] - target_ptr[lane]).squeeze(1)
        biases.append(torch.stack(of_lane, 1)[targets])
    return torch.cat(biases), torch.stack(before) if stages else None


def _both_bins(steps: Tensor, window: int, values: Tensor) -> Tensor:
    """Sums ``values`` ``[edges, kinds]`` over both bins of the user for each edge, ``[edges, kinds]``."""
    starts, follows = (steps & (bit << (2 * window)) != 0 for bit in (1, 2))
    # There are at most as many bins as edges. All edges of a bin agree on whether it is adjacent to the one before.
    place, most = starts.cumsum(0) - 1, len(steps) + 1
    bins = values.new_zeros(most, values.shape[1]).index_add_(0, place, values)
    joined = values.new_zeros(most).index_copy_(0, place, follows.to(values.dtype)).unsqueeze(1)
    both = 2 * bins
    both[1:] += joined[1:] * bins[:-1]
    both[:-1] += joined[1:] * bins[1:]
    return both[place]
