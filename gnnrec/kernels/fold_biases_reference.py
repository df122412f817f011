"""Reference implementation of :mod:`gnnrec.kernels.fold_biases` in plain torch, a lane and block of users at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from gnnrec.kernels.edges import Edges, EdgeTimeBins, TimeBins
from gnnrec.kernels.ragged import owners

#: Most edges of a block; one has about 100 temporary bytes. A user with more is a block alone.
BLOCK = 1 << 24


def _blocks(edges: Edges) -> Iterator[tuple[slice, Edges]]:
    """Yields blocks of users with their edges; a small graph is one block, for which the host waits for nothing."""
    users, count = edges.pointer.numel() - 1, edges.movie.numel()
    if count <= BLOCK:
        yield slice(0, users), edges
        return
    wanted = torch.arange(BLOCK, count, BLOCK, device=edges.pointer.device)
    bounds = [0, *torch.searchsorted(edges.pointer, wanted).unique().tolist()]
    for first, last in zip(bounds, [*bounds[1:], users]):
        begin, end = edges.pointer[[first, last]].tolist()
        part = slice(begin, end)
        bins = None if edges.bins is None else EdgeTimeBins(edges.bins.cell[part], edges.bins.steps[part])
        yield (
            slice(first, last),
            dataclasses.replace(
                edges,
                pointer=edges.pointer[first : last + 1] - begin,
                movie=edges.movie[part],
                rating=edges.rating[part],
                level=edges.level[part],
                fold=edges.fold[part],
                bins=bins,
            ),
        )


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
    bias, movie_sums = torch.empty_like(user_total), torch.zeros_like(movie_bias)
    for users, block in _blocks(edges):
        user = _owners(block)
        for lane, fold in enumerate(folds):
            carried = _carried(block, fold)
            others = torch.zeros_like(user_total[users, lane])
            others.index_add_(0, user, carried * movie_bias[block.movie, lane])
            own = (user_total[users, lane] - others) / (user_degree[users, lane] + shrinkage)
            bias[users, lane] = own
            if sums:
                movie_sums[:, lane].index_add_(0, block.movie, carried * own[user])
    return bias, movie_sums if sums else None


def year_sums(edges: Edges, folds: range, user_base: Tensor, movie_bias: Tensor, cells: int) -> Tensor:
    """See :func:`gnnrec.kernels.fold_biases.year_sums`."""
    sums = movie_bias.new_zeros(cells, 2, len(folds))
    for users, block in _blocks(edges):
        user = _owners(block)
        for lane, fold in enumerate(folds):
            carried = _carried(block, fold)
            left = block.rating - user_base[users, lane][user] - movie_bias[block.movie, lane]
            sums[:, :, lane].index_add_(0, block.bins.cell, torch.stack([left * carried, carried], 1))
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
    biases: list[list[Tensor]] = [[] for _ in folds]
    before = []
    for users, block in _blocks(edges):
        user = _owners(block)
        sizes = [end - begin for begin, end in zip(target_ptr, target_ptr[1:])]
        if block is not edges:
            sizes = num_targets[:, users].sum(1).tolist()
        for lane, fold in enumerate(folds):
            left = block.rating - user_base[users, lane][user] - movie_bias[block.movie, lane]
            of_edges, left_before = _of_lane(block, left, _carried(block, fold), years[:, :, lane], windows)
            targets = torch.nonzero_static(_carried(block, fold) == 0, size=sizes[lane]).squeeze(1)
            biases[lane].append(of_edges[targets])
            if stages:
                before.append(left_before)
    return torch.cat([part for parts in biases for part in parts]), torch.cat(before, 1) if stages else None


def _of_lane(edges: Edges, left: Tensor, carried: Tensor, years: Tensor, windows: TimeBins) -> tuple[Tensor, Tensor]:
    """Computes the temporal biases of all edges, ``[edges, 1 + windows]``, and residuals before each window."""
    # A rating is excluded from its own temporal bias.
    own, before = 2 * carried, []
    total, count = years[edges.bins.cell].unbind(1)
    biases = [(total - own * left) / (count + windows.movie_shrinkage - own)]
    left = left - biases[0]
    for window, shrinkage in enumerate(windows.user_shrinkages):
        before.append(left)
        values = torch.stack([left * carried, carried], 1)
        total, count = _both_bins(edges.bins.steps, window, values).unbind(1)
        biases.append((total - own * left) / (count + shrinkage - own))
        left = left - biases[-1]
    return torch.stack(biases, 1), torch.stack(before)


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
