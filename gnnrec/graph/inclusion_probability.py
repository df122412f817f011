"""Inclusion probabilities: how often each user is in the batch of a sampled step."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.graph.rank_graph import RankGraph


def inclusion_probability(
    graph: RankGraph, slices: int, raters_per_movie: int, steps: int = 0, block: int = 65536
) -> Tensor:
    """Computes the probability that a user is in the batch of a step, as a seed or as a sampled rater of a movie.

    ``1 - (1 - 1 / slices) * product over the user's movies of (1 - min(1, raters_per_movie / raters of the movie))``.
    Raters of each movie are drawn independently of other movies and of the seeds (:mod:`gnnrec.graph.sampler`).

    Args:
        graph: The rank's graph.
        slices: Steps of a pass; each user is a seed in one of them.
        raters_per_movie: Raters drawn for each movie over all ranks; negative for all.
        steps: Steps of an epoch, if raters are drawn only for movies of the step's targets: a movie is among them with
            a probability of about ``1 - (1 - 1 / steps) ** ratings``. 0 if raters are drawn for all movies.
        block: Users processed at a time.

    Returns:
        float64 ``[users]``, above 0.
    """
    degree = graph.movie_degree.to(torch.float64)
    drawn = degree if raters_per_movie < 0 else degree.clamp(max=raters_per_movie)
    share = drawn / degree.clamp(min=1)
    if steps:
        share = share * (1 - (1 - 1 / steps) ** degree)
    log_missed = torch.log1p(-share)
    log_missed_by = [torch.zeros(0, dtype=torch.float64, device=graph.device)]
    for start in range(0, graph.num_users, block):
        pointer = graph.user_ptr[start : start + block + 1]
        movies = graph.movie[int(pointer[0]) : int(pointer[-1])]
        edges = log_missed[movies.to(torch.int64)]
        log_missed_by.append(torch.segment_reduce(edges, "sum", offsets=pointer - pointer[0], initial=0))
    return 1 - (1 - 1 / slices) * torch.cat(log_missed_by).exp()
