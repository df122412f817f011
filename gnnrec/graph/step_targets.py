"""Targets of a step: those of its seed users among the targets of a pass."""

from __future__ import annotations

import functools
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.graph.batch import Targets, selection_by_movie
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.kernels.lists import ByColumn
from gnnrec.kernels.ragged import index_dtype, offsets, ranges


def step_targets(graph: RankGraph, statistics: MessageStatistics, step: Step, num_users: int) -> Targets:
    """Selects the targets of a step. Users of the batch that are not seeds have none.

    Args:
        graph: The rank's graph.
        statistics: Statistics of the pass.
        step: The step, whose seeds come first in the batch.
        num_users: Users of the batch.
    """
    edges, count = statistics.edges, max(step.num_targets, 1)
    if step.seeds is None:
        return Targets(
            edges.target_pointer,
            edges.target_movie,
            edges.target_rating,
            count,
            statistics.target_temporal_bias,
            selection_by_movie(graph, statistics, targets=True),
        )
    counts = edges.target_pointer.diff()[step.seeds]
    index = ranges(edges.target_pointer[step.seeds], counts, step.local_targets)
    pointer = offsets(torch.cat([counts, counts.new_zeros(num_users - counts.numel())]))
    biases = None if statistics.target_temporal_bias is None else statistics.target_temporal_bias[index]
    return Targets(pointer, edges.target_movie[index], edges.target_rating[index], count, biases)


class PassTargets:
    """Targets of all steps of a pass, sorted by step, and by movie within a step: views of them are those of a step.

    On a GPU this takes few launches a step and no wait. On a CPU, :func:`step_targets` needs less memory.

    Args:
        statistics: Statistics of the pass.
        epoch: The epoch.
        fold: The fold of the targets.
        movies: Number of movies.
    """

    def __init__(self, statistics: MessageStatistics, epoch: Epoch, fold: int, movies: int):
        edges, order = statistics.edges, epoch.seeds(fold)
        self.order, self.movies, self.slices = order, movies, epoch.slices
        sizes = epoch.local_sizes(fold)
        self._targets, self._seeds = (_sums(numbers) for numbers in zip(*sizes))
        counts = edges.target_pointer.diff()[order]
        self._pointer = offsets(counts)
        self._every = torch.arange(max(edges.target_movie.numel(), order.numel() + 1), device=order.device)
        shift = edges.target_pointer[order] - self._pointer[:-1]
        owner = torch.repeat_interleave(counts, output_size=edges.target_movie.numel())
        index = shift[owner].add_(self._every[: owner.numel()])
        self._owner, self._movie, self._rating = owner, edges.target_movie[index], edges.target_rating[index]
        self._biases = None if statistics.target_temporal_bias is None else statistics.target_temporal_bias[index]

    def of_step(self, step: Step, num_users: int, whole: bool) -> Targets:
        """Returns the targets of a step.

        Args:
            step: The step.
            num_users: Users of the batch.
            whole: Users of the batch are those of the rank in row order; otherwise seeds come first.
        """
        number = step.index % self.slices
        (first, last), (begin, end) = (sums[number : number + 2] for sums in (self._seeds, self._targets))
        pointer = self._pointer[first : last + 1] - begin
        if whole:  # seeds of a step ascend
            pointer = pointer[torch.searchsorted(self.order[first:last], self._every[: num_users + 1])]
        else:
            pointer = torch.cat([pointer, pointer[-1:].expand(num_users - (last - first))])
        biases = None if self._biases is None else self._biases[begin:end]
        select = functools.cache(functools.partial(self._by_movie_of_step, number, whole))
        count = max(step.num_targets, 1)
        return Targets(pointer, self._movie[begin:end], self._rating[begin:end], count, biases, select)

    def _by_movie_of_step(self, number: int, whole: bool) -> ByColumn:
        keys, order, owner = self._by_movie
        span = slice(*self._targets[number : number + 2])
        every = torch.arange(number * self.movies, (number + 1) * self.movies + 1, dtype=keys.dtype, device=keys.device)
        row = self._order[owner[span]] if whole else owner[span] - self._seeds[number]
        return torch.searchsorted(keys[span], every), row, order[span]

    @cached_property
    def _by_movie(self) -> tuple[Tensor, Tensor, Tensor]:
        """Targets by step, then movie: step times movies plus movie, place in the step, and owner, int32."""
        targets = self._movie.numel()
        starts = torch.tensor(self._targets, device=self._movie.device)
        step = torch.searchsorted(starts[1:], self._every[:targets], right=True)
        keys = torch.add(self._movie, step, alpha=self.movies).to(index_dtype(self.slices * self.movies))
        keys, order = torch.sort(keys, stable=True)
        owner = self._owner[order].to(torch.int32)
        return keys, order.sub_(starts[step]), owner

    @cached_property
    def _order(self) -> Tensor:
        return self.order.to(torch.int32)


def _sums(numbers: tuple[int, ...]) -> list[int]:
    """Returns ``[0, n_0, n_0 + n_1, ...]``."""
    sums = [0]
    for number in numbers:
        sums.append(sums[-1] + number)
    return sums
