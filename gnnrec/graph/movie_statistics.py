"""Closed-form statistics of all message edges, a chunk of users at a time: what :mod:`gnnrec.graph.statistics` finds
in memory, in three sweeps over the chunks."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.folds import Folds
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import BIAS_SHRINKAGE, MessageStatistics
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.kernels import statistics as kernels


@dataclasses.dataclass(frozen=True)
class MovieStatistics:
    """What a user's messages need to know of all other edges.

    Attributes:
        mean: Mean rating, float scalar tensor.
        degree: Message edges of each movie on all ranks, float ``[movies]``.
        bias: Closed-form biases, ``[movies]``.
        years: Effects of a movie's years as sums and numbers, float ``[movies, half bins, 2]``; None where time plays
            no part.
    """

    mean: Tensor
    degree: Tensor
    bias: Tensor
    years: Tensor | None

    @staticmethod
    @torch.no_grad()
    def over(chunks: UserChunks) -> MovieStatistics:
        """Sweeps over all users of all ranks; every rank calls this."""
        world, dtype, movies = chunks.world, chunks.dtype, chunks.dataset.num_movies
        sums = torch.zeros(2, movies, dtype=torch.float64, device=world.device)
        for graph in chunks.graphs(timed=False):
            folds = Folds.single(graph)
            sums += torch.stack([folds.movie_count[0], folds.movie_sum[0]])
        count, total = world.all_reduce_sum_(sums)
        mean = total.sum() / count.sum().clamp(min=1)
        total, degree, mean = (total - mean * count).to(dtype), count.to(dtype), mean.to(dtype)

        world.check_stop()
        known = MovieStatistics(mean, degree, total / (degree + BIAS_SHRINKAGE), None)
        others = torch.zeros_like(degree)
        for graph in chunks.graphs(timed=False):
            others += known.bias_sweep(graph, sums=True)[1]
        known = dataclasses.replace(known, bias=(total - world.all_reduce_sum_(others)) / (degree + BIAS_SHRINKAGE))
        if chunks.clock is None:
            return known

        world.check_stop()
        windows = chunks.clock.windows
        years = torch.zeros(movies, windows.movie_halves, 2, dtype=dtype, device=world.device)
        for graph in chunks.graphs():
            user_bias, _ = known.bias_sweep(graph)
            years += kernels.year_sums(Folds.single(graph).edges, -1, user_bias + mean, known.bias, windows)
        return dataclasses.replace(known, years=kernels.both_bins(world.all_reduce_sum_(years)))

    def bias_sweep(self, graph: RankGraph, sums: bool = False) -> tuple[Tensor, Tensor | None]:
        """Biases of the users of a chunk, and their sums over the raters of each movie."""
        folds = Folds.single(graph)
        degree = folds.user_count[0].to(graph.dtype)
        total = (folds.user_sum[0] - self.mean.double() * folds.user_count[0]).to(graph.dtype)
        return kernels.bias_sweep(folds.edges, -1, self.bias, total, degree, BIAS_SHRINKAGE, sums)

    def of_chunk(self, graph: RankGraph) -> MessageStatistics:
        """Statistics of the messages of a chunk of users. Any users: they need not be among those swept over."""
        edges, (user_bias, _) = Folds.single(graph).edges, self.bias_sweep(graph)
        degree, timed = graph.user_degree.to(graph.dtype), graph.clock is not None
        found = kernels.residuals(
            edges, -1, torch.zeros_like(graph.user_degree), user_bias + self.mean, self.bias,
            self.years if timed else None, graph.clock.windows if timed else None, None, None, 1.0,
        )  # fmt: skip
        return MessageStatistics(degree, self.degree, self.mean, user_bias, self.bias, 1.0, found, None)
