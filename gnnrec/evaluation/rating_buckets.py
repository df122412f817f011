"""RMSE by the number of training ratings of the user or the movie."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.ragged import owners

#: Lowest number of training ratings of each bucket.
EDGES = (0, 1, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20000)


@torch.no_grad()
def rmse_by_degree(predicted: Tensor, targets: Targets, graph: RankGraph) -> dict[str, list[dict]]:
    """RMSE of standardized predictions clipped to the rating scale, by training ratings of the user and of the movie.

    Args:
        predicted: Float ``[ratings of this rank]``.
        targets: The held-out ratings.
        graph: The rank's graph: training ratings and the scale. Every rank calls this.

    Returns:
        ``rmse_by_user_ratings`` and ``rmse_by_movie_ratings``, each a list of nonempty buckets: ``from`` and ``to``
        training ratings (``to`` is None in the last bucket), held-out ``ratings``, ``rmse``.
    """
    error = graph.rating_unit.clip(predicted).double() - targets.rating.double()
    square = (error * graph.rating_unit.std).square()
    user_degree = graph.user_degree[owners(targets.pointer)]
    movie_degree = graph.movie_degree[targets.movie]
    return {
        "rmse_by_user_ratings": _buckets(square, user_degree, graph.world),
        "rmse_by_movie_ratings": _buckets(square, movie_degree, graph.world),
    }


def _buckets(square: Tensor, degree: Tensor, world: World) -> list[dict]:
    edges = torch.tensor(EDGES, device=degree.device)
    bucket = torch.bucketize(degree, edges, right=True) - 1
    sums = square.new_zeros(2, len(EDGES))
    sums[0].index_add_(0, bucket, square)
    sums[1].index_add_(0, bucket, torch.ones_like(square))
    total, count = world.all_reduce_sum_(sums).tolist()
    tops = [edge - 1 for edge in EDGES[1:]] + [None]
    return [
        {"from": low, "to": top, "ratings": int(number), "rmse": (error / number) ** 0.5}
        for low, top, error, number in zip(EDGES, tops, total, count)
        if number
    ]
