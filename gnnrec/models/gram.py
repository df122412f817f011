"""Weighted co-occurrence counts of movies, summed over all users of all ranks."""

from __future__ import annotations

import functools

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, merge
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
    weak: Interactions | None = None,
    weak_weight: float = 0.0,
) -> Tensor:
    """Computes ``Z' diag(w) Z``, where ``Z[user, movie]`` is 1 for each interaction. Every rank calls this.

    Summed on the CPU, one block of movies at a time, which bounds memory to the result and one block.

    With weak interactions ``L`` beside ``X``, ``Z = X + a L``. In terms of ``A = X + L``, whose entries are all 1,
    ``Z' W Z = (1 - a) X' W X + a A' W A - a (1 - a) L' W L``.

    Args:
        interactions: Interactions of this rank's users.
        num_movies: Movies of the dataset.
        weight_per_user: Float ``[users of this rank]``; None for ones.
        world: The ranks.
        dtype: Type of the result; None for float64 up to :data:`FLOAT64_MOVIES` movies, float32 above.
        weak: Further interactions of the same users, none of them among the others; None for none, on every rank.
        weak_weight: ``a``, their value.

    Returns:
        ``[movies, movies]`` on the rank's device, equal on all ranks. All sums are in float64.
    """
    dtype = dtype or (torch.float64 if num_movies <= FLOAT64_MOVIES else torch.float32)
    parts = [(1.0, interactions)]
    if weak is not None and weak_weight:
        both = (weak_weight, merge(interactions, weak)), (-weak_weight * (1 - weak_weight), weak)
        parts = [(1 - weak_weight, interactions), *both]
    lists = [(factor, CSRLists(part.user_ptr.cpu(), part.movie.cpu(), num_movies)) for factor, part in parts]
    weight = None if weight_per_user is None else weight_per_user.double().cpu()
    gram = torch.empty(num_movies, num_movies, dtype=dtype, device=world.device)
    rows = max(1, BLOCK // max(num_movies, 1))
    for first in range(0, num_movies, rows):
        last = min(first + rows, num_movies)
        parts_of_block = (pair_sums(part, weight, first, last).mul_(factor) for factor, part in lists)
        block = world.all_reduce_sum_(functools.reduce(Tensor.add_, parts_of_block).to(world.device))
        square = block[:, : last - first]
        gram[first:last, first:last] = square + square.triu(1).T
        gram[first:last, last:] = block[:, last - first :]
        gram[last:, first:last] = block[:, last - first :].T
    return gram


def sparse_matrix(interactions: Interactions, num_movies: int) -> scipy.sparse.csr_array:
    """Returns ``X``, float64 ``[users of this rank, movies]``, 1 for each interaction."""
    movie = interactions.movie.cpu().numpy()
    return scipy.sparse.csr_array(
        (np.ones(len(movie)), movie, interactions.user_ptr.cpu().numpy()), shape=(interactions.num_users, num_movies)
    )
