"""Weighted co-occurrence counts of movies, summed over all users of all ranks."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.gram import pair_sums
from gnnrec.kernels.lists import CSRLists

#: Most movies for which the Gram matrix, and all computations with it, are float64.
FLOAT64_MOVIES = 5_000
#: Elements of the result that are computed and summed over ranks at a time.
BLOCK = 1 << 25


@torch.no_grad()
def weighted_gram(
    interactions: Interactions,
    num_movies: int,
    weight_per_user: Tensor | None,
    world: World,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Computes ``X' diag(w) X``, where ``X[user, movie]`` is the weight of each interaction. Every rank calls this.

    Summed on the CPU, one block of movies at a time, which bounds memory to the result and one block.

    Args:
        interactions: Interactions of this rank's users.
        num_movies: Movies of the dataset.
        weight_per_user: Float ``[users of this rank]``; None for ones.
        world: The ranks.
        dtype: Type of the result; None for float64 up to :data:`FLOAT64_MOVIES` movies, float32 above.

    Returns:
        ``[movies, movies]`` on the rank's device, equal on all ranks. All sums are in float64.
    """
    dtype = dtype or (torch.float64 if num_movies <= FLOAT64_MOVIES else torch.float32)
    factor = None if interactions.weight is None else interactions.weight.double().cpu()
    lists = CSRLists(interactions.user_ptr.cpu(), interactions.movie.cpu(), num_movies, factor)
    weight = None if weight_per_user is None else weight_per_user.double().cpu()
    gram = torch.empty(num_movies, num_movies, dtype=dtype, device=world.device)
    rows = max(1, BLOCK // max(num_movies, 1))
    for first in range(0, num_movies, rows):
        last = min(first + rows, num_movies)
        block = world.all_reduce_sum_(pair_sums(lists, weight, first, last).to(world.device))
        square = block[:, : last - first]
        gram[first:last, first:last] = square + square.triu(1).T
        gram[first:last, last:] = block[:, last - first :]
        gram[last:, first:last] = block[:, last - first :].T
    return gram


def sparse_matrix(interactions: Interactions, num_movies: int) -> scipy.sparse.csr_array:
    """Returns ``X``, float64 ``[users of this rank, movies]``, the weight of each interaction, by default 1."""
    movie = interactions.movie.cpu().numpy()
    weight = interactions.weight
    values = np.ones(len(movie)) if weight is None else weight.double().cpu().numpy()
    return scipy.sparse.csr_array(
        (values, movie, interactions.user_ptr.cpu().numpy()), shape=(interactions.num_users, num_movies)
    )
