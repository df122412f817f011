"""Closed-form statistics of all message edges in two sweeps over chunks of users.

The results are those of :mod:`gnnrec.graph.statistics`, which needs all edges in memory.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.fold_biases import BIAS_SHRINKAGE, NO_FOLD
from gnnrec.graph.fold_sums import Folds
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.graph.user_chunks import UserChunks
from gnnrec.kernels.fold_biases import bias_sweep
from gnnrec.kernels.statistics import residuals


@dataclasses.dataclass(frozen=True)
class MovieStatistics:
    """Statistics of movies over all edges, from which the messages of any user are computed.

    Attributes:
        mean: Mean rating, float scalar tensor.
        degree: Message edges of each movie on all ranks, float ``[movies]``.
        bias: Closed-form biases, ``[movies]``.
    """

    mean: Tensor
    degree: Tensor
    bias: Tensor

    @staticmethod
    @torch.no_grad()
    def compute(chunks: UserChunks) -> MovieStatistics:
        """Sweeps over all users of all ranks. Every rank calls this."""
        world, dtype, movies = chunks.world, chunks.dtype, chunks.dataset.num_movies
        sums = torch.zeros(2, movies, dtype=torch.float64, device=world.device)
        for graph in chunks.graphs():
            folds = Folds.single(graph)
            sums += torch.stack([folds.movie_count[0], folds.movie_sum[0]])
        count, total = world.all_reduce_sum_(sums)
        mean = total.sum() / count.sum().clamp(min=1)
        total, degree, mean = (total - mean * count).to(dtype), count.to(dtype), mean.to(dtype)

        world.check_stop()
        statistics = MovieStatistics(mean, degree, total / (degree + BIAS_SHRINKAGE))
        others = torch.zeros_like(degree)
        for graph in chunks.graphs():
            others += statistics.bias_sweep(Folds.single(graph), dtype, sums=True)[1]
        bias = (total - world.all_reduce_sum_(others)) / (degree + BIAS_SHRINKAGE)
        return dataclasses.replace(statistics, bias=bias)

    def bias_sweep(self, folds: Folds, dtype: torch.dtype, sums: bool = False) -> tuple[Tensor, Tensor | None]:
        """Computes the biases of the users of a chunk, and their sums over the raters of each movie."""
        degree = folds.user_count[0].to(dtype)
        total = (folds.user_sum[0] - self.mean.double() * folds.user_count[0]).to(dtype)
        bias, total, degree = (vector.unsqueeze(1) for vector in (self.bias, total, degree))
        user_bias, movie_sums = bias_sweep(folds.edges, NO_FOLD, bias, total, degree, BIAS_SHRINKAGE, sums)
        return user_bias.squeeze(1), movie_sums.squeeze(1) if sums else None

    def for_chunk(self, graph: RankGraph) -> MessageStatistics:
        """Computes the statistics of the messages of a chunk of users, which may be new users."""
        folds = Folds.single(graph)
        user_bias, _ = self.bias_sweep(folds, graph.dtype)
        degree, no_targets = graph.user_degree.to(graph.dtype), torch.zeros_like(graph.user_degree)
        messages = residuals(folds.edges, -1, no_targets, None, user_bias + self.mean, self.bias, None, None, 1.0)
        return MessageStatistics(degree, self.degree, self.mean, user_bias, self.bias, 1.0, messages, None, None)
