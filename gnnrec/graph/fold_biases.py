"""Degrees, closed-form biases and temporal biases of the edges outside a fold, for several folds at once."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.fold_sums import Folds
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels import fold_biases as kernels

#: Pseudo-ratings at the mean in the bias of every user and movie.
BIAS_SHRINKAGE = 5.0
#: Bytes of the sums over time of movies that a group of folds may take; a single fold takes what it needs.
LARGEST_SUMS = 1 << 28
#: No fold: all edges enter all sums.
NO_FOLD = range(-1, 0)


@dataclasses.dataclass(frozen=True)
class FoldBiases:
    """Statistics of the edges outside each of some folds. A row belongs to a fold.

    Attributes:
        folds: The folds; the last ones may be past the last fold of the epoch, and have no edges.
        mean: Mean rating of all ranks, float ``[folds]``.
        user_degree: Edges of local users, float ``[folds, users]``.
        movie_degree: Edges of movies on all ranks, float ``[folds, movies]``.
        user_bias: Closed-form biases, float ``[folds, users]``.
        movie_bias: Closed-form biases, float ``[folds, movies]``.
        target_ptr: Start of the edges of each fold in ``temporal_bias``, ``[folds + 1]``.
        temporal_bias: Temporal biases of the edges of the folds, sorted by fold, then user, float ``[targets, 3]``;
            None in models without time.
        tables: Tables of temporal biases; None unless requested.
    """

    folds: range
    mean: Tensor
    user_degree: Tensor
    movie_degree: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    target_ptr: list[int]
    temporal_bias: Tensor | None = None
    tables: TemporalBiasTables | None = None

    def edges_of(self, fold: int) -> slice:
        """Rows of the edges of one fold in ``temporal_bias``."""
        row = self.folds.index(fold)
        return slice(self.target_ptr[row], self.target_ptr[row + 1])


def fold_groups(num_folds: int, bytes_a_fold: float) -> list[range]:
    """Splits folds into groups whose biases are computed together, as large as loops are compiled for.

    Args:
        num_folds: Folds of an epoch.
        bytes_a_fold: Sums over time of movies: 2 numbers for each half-width bin of a movie that has a rating.
    """
    widths = [width for width in kernels.WIDTHS if width * bytes_a_fold <= LARGEST_SUMS] or [1]
    groups, first = [], 0
    while first < num_folds:
        # The narrowest group for all that is left, or else the widest.
        width = min((width for width in widths if width >= num_folds - first), default=max(widths))
        groups.append(range(first, first + width))
        first += width
    return groups


def group_of(graph: RankGraph, fold: int, num_folds: int) -> range:
    """Returns the group of a fold, which does not depend on the number of ranks."""
    cells = 0 if graph.clock is None else graph.rated_years.numel()
    groups = fold_groups(num_folds, 2 * cells * graph.rating.element_size())
    return next(group for group in groups if fold in group)


@torch.no_grad()
def fold_biases(graph: RankGraph, sums: Folds, folds: range, tables: bool = False) -> FoldBiases:
    """Computes the statistics of the edges outside each of ``folds``. Every rank calls this.

    Biases are alternating ridge estimates, movies first: ``b_m = sum_u (r_um - mean - b_u) / (n_m + shrinkage)``, then
    users in the same way, twice (Koren, "Factor in the neighbors", TKDD 2010, section 2.1).

    Args:
        graph: The rank's graph.
        sums: Edges and sums by fold.
        folds: The folds, or :data:`NO_FOLD`.
        tables: Compute the tables of temporal biases; only without a fold.
    """
    dtype, edges, world = graph.rating.dtype, sums.edges, graph.world
    movie_count, movie_sum = _others(sums.movie_count, folds), _others(sums.movie_sum, folds)
    user_count, user_sum = _others(sums.user_count.double(), folds), _others(sums.user_sum, folds)
    mean = movie_sum.sum(1, keepdim=True) / movie_count.sum(1, keepdim=True).clamp(min=1)
    movie_total, user_total = (movie_sum - mean * movie_count).to(dtype), (user_sum - mean * user_count).to(dtype)
    movie_degree, user_degree, mean = movie_count.to(dtype), user_count.to(dtype), mean.squeeze(1).to(dtype)
    of_users = user_total.T.contiguous(), user_degree.T.contiguous(), BIAS_SHRINKAGE
    exchanged = min(folds.stop, len(sums.user_count)) - folds.start

    movie_bias = movie_total / (movie_degree + BIAS_SHRINKAGE)
    _, others = kernels.bias_sweep(edges, folds, movie_bias.T.contiguous(), *of_users)
    world.all_reduce_sum_(others[:, :exchanged])
    movie_bias = (movie_total - others.T) / (movie_degree + BIAS_SHRINKAGE)
    by_movie = movie_bias.T.contiguous()
    by_user, _ = kernels.bias_sweep(edges, folds, by_movie, *of_users, sums=False)

    targets = torch.zeros(len(folds), graph.num_users, dtype=torch.int64, device=graph.device)
    if folds != NO_FOLD:
        targets[:exchanged] = sums.user_count[folds.start : folds.stop]
    pointer = [0, *targets.sum(1).cumsum(0).tolist()]
    result = FoldBiases(folds, mean, user_degree, movie_degree, by_user.T.contiguous(), movie_bias, pointer)
    if graph.clock is None or not (tables or folds != NO_FOLD):  # messages need no times
        return result
    windows, user_base = graph.clock.windows, by_user + mean
    half_bins = kernels.year_sums(edges, folds, user_base, by_movie, graph.rated_years.numel())
    world.sum_on_wire_(half_bins[:, :, :exchanged])
    width = windows.num_movie_half_bins
    years = kernels.both_bins(half_bins, _follows(graph.rated_years, width))
    biases, stages = kernels.temporal_biases(
        edges, folds, targets, pointer, user_base, by_movie, years, windows, stages=tables
    )
    if not tables:
        return dataclasses.replace(result, temporal_bias=biases)
    every_bin = half_bins.new_zeros(graph.num_movies * width, 2)
    every_bin.index_copy_(0, graph.rated_years, half_bins[:, :, 0])
    both = kernels.both_bins(every_bin, _follows(torch.arange(len(every_bin), device=graph.device), width))
    found = TemporalBiasTables(graph.clock, both.view(-1, width, 2), graph.user_ptr, graph.time, stages)
    return dataclasses.replace(result, tables=found)


def _follows(bins: Tensor, width: int) -> Tensor:
    """Returns which half-width bins, int64 ``[bins]`` ascending, are adjacent to the one before and of its movie."""
    return torch.diff(bins, prepend=bins.new_full((1,), -2)).eq(1) & (bins % width != 0)


def _others(by_fold: Tensor, folds: range) -> Tensor:
    """Sums over all folds but one, ``[all folds, rows]`` to ``[folds, rows]``, without reading that one."""
    if folds == NO_FOLD:
        return by_fold.sum(0, keepdim=True)
    zero = by_fold.new_zeros(1, by_fold.shape[1])
    # Row i: the sum of all folds before i, and of all from i on.
    before = torch.cat([zero, by_fold.cumsum(0)])
    after = torch.cat([by_fold.flip(0).cumsum(0).flip(0), zero])
    rows = torch.arange(folds.start, folds.stop, device=by_fold.device)
    return before[rows.clamp(max=len(by_fold))] + after[(rows + 1).clamp(max=len(by_fold))]
