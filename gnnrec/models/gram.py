"""Weighted co-occurrence counts of movies, summed over all users of all ranks."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions

#: Movies up to which the Gram matrix, and what is computed from it, are float64.
FLOAT64_MOVIES = 5_000
#: Numbers of the result made, and summed over ranks, at a time.
_BLOCK = 1 << 25


@torch.no_grad()
def weighted_gram(interactions: Interactions, num_movies: int, weight_per_user: Tensor | None, world: World) -> Tensor:
    """``X' diag(w) X``, where ``X[user, movie]`` is 1 for each interaction.

    Sparse products on the CPU, a block of movies at a time, so no more than a block is held beside the result.

    Args:
        interactions: This rank's.
        num_movies: Movies of the dataset.
        weight_per_user: Float ``[users of this rank]``; None is ones.
        world: The ranks; every rank calls this.

    Returns:
        ``[movies, movies]`` on the rank's device, equal on all ranks: float64 up to :data:`FLOAT64_MOVIES` movies,
        float32 above. All sums are in float64.
    """
    dtype = torch.float64 if num_movies <= FLOAT64_MOVIES else torch.float32
    rated = sparse_matrix(interactions, num_movies)
    weighted = rated
    if weight_per_user is not None:
        weighted = scipy.sparse.diags_array(weight_per_user.double().cpu().numpy()) @ rated
    by_movie = rated.T.tocsr()
    gram = torch.empty(num_movies, num_movies, dtype=dtype, device=world.device)
    rows = max(1, _BLOCK // num_movies)
    for first in range(0, num_movies, rows):
        block = (by_movie[first : first + rows] @ weighted).toarray()
        gram[first : first + rows] = world.all_reduce_sum_(torch.from_numpy(block).to(world.device))
    return gram


def sparse_matrix(interactions: Interactions, num_movies: int) -> scipy.sparse.csr_array:
    """``X`` as float64 ``[users of this rank, movies]``, ones where there is an interaction."""
    movie = interactions.movie.cpu().numpy()
    return scipy.sparse.csr_array(
        (np.ones(len(movie)), movie, interactions.user_ptr.cpu().numpy()), shape=(interactions.num_users, num_movies)
    )
