"""Edges of a rank with their folds, and sums by fold."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.edges import Edges
from gnnrec.kernels.statistics import fold_sums


@dataclasses.dataclass(frozen=True)
class Folds:
    """Edges of a rank with their folds, and sums by fold for the statistics of all folds but one.

    Attributes:
        edges: The edges, with folds.
        user_count: Edges of local users, int32 ``[folds, users]``.
        user_sum: Sums of their ratings, float64 ``[folds, users]``.
        movie_count: Edges of movies on all ranks, float64 ``[folds, movies]``.
        movie_sum: Sums of their ratings, float64 ``[folds, movies]``.
    """

    edges: Edges
    user_count: Tensor
    user_sum: Tensor
    movie_count: Tensor
    movie_sum: Tensor

    @staticmethod
    def build(graph: RankGraph, fold: Tensor, folds: int) -> Folds:
        """Computes the sums by fold. Every rank calls this.

        Args:
            graph: The rank's graph.
            fold: Fold of each edge, uint8 ``[edges]``.
            folds: Number of folds.
        """
        edges = Edges(
            graph.user_ptr,
            graph.movie,
            graph.rating,
            graph.level,
            graph.time_bins,
            fold,
            graph.num_movies,
            graph.edge_orders,
        )
        user_count, user_sum, movie_count, movie_sum = fold_sums(edges, folds)
        # float64 sums of counts and half stars are exact in any order, so they do not depend on the number of ranks.
        movie_sums = torch.stack([movie_count.to(torch.float64), movie_sum]).transpose(1, 2).contiguous()
        return Folds(edges, user_count, user_sum, *graph.world.all_reduce_sum_(movie_sums))

    @staticmethod
    def single(graph: RankGraph) -> Folds:
        """Assigns all edges to one fold. Every rank calls this."""
        return Folds.build(graph, torch.zeros(graph.num_edges, dtype=torch.uint8, device=graph.device), 1)
