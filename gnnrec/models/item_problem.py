"""Tables of the closed-form item model for any L2 strength, by an inverse over pairs of movies or of users.

With ``Z`` scaled by the roots of user weights, ``D`` the diagonal penalty and ``P = inv(Z'Z + D)``, the weights are
``B = I - P diag(1 / P_jj)``. Where users are few, ``P`` follows from an inverse over pairs of users (Woodbury's
identity): ``P = inv(D) - inv(D) Z' K Z inv(D)`` with ``K = inv(I + Z inv(D) Z')``.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.models.closed_form_start import item_model, movie_penalty


class ItemProblem(Protocol):
    """Values of the movies of all users, for which the item model is solved on rank 0."""

    def tables(self, l2: float, dim: int) -> tuple[Tensor, Tensor]:
        """Computes message embeddings and targets, as :meth:`gnnrec.models.closed_form_start.ItemModel.tables` does."""


@dataclasses.dataclass(frozen=True)
class ItemsByMovies:
    """Item model of a Gram matrix.

    Attributes:
        gram: ``Z'Z``, float ``[movies, movies]``.
    """

    gram: Tensor

    def tables(self, l2: float, dim: int) -> tuple[Tensor, Tensor]:
        return item_model(self.gram, l2).tables(dim)


class ItemsByUsers:
    """Item model of a dense matrix of users by movies.

    Args:
        matrix: ``Z`` with the roots of user weights, float64 ``[users, movies]``.
    """

    def __init__(self, matrix: Tensor):
        self.num_movies, self.rated = matrix.shape[1], matrix.any(0).nonzero().squeeze(1)
        self.matrix = matrix[:, self.rated]

    def tables(self, l2: float, dim: int) -> tuple[Tensor, Tensor]:
        matrix = self.matrix
        popularity = matrix.square().sum(0)
        penalty = movie_penalty(popularity, l2) + popularity
        scaled = matrix / penalty
        inner = torch.linalg.inv(torch.eye(len(matrix)).to(matrix) + scaled @ matrix.T)
        diagonal = 1 / penalty - (scaled * (inner @ scaled)).sum(0)

        def times_inverse(rows: Tensor) -> Tensor:
            """Computes ``rows P``."""
            return rows / penalty - (rows @ scaled.T) @ inner @ scaled

        scores = matrix - times_inverse(matrix) / diagonal
        values, vectors = torch.linalg.eigh(scores @ scores.T)
        values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
        kept = values > values[:1] * 10 * torch.finfo(values.dtype).eps
        target = scores.T @ (vectors[:, kept] / values[kept].sqrt())
        embedding = target - times_inverse((target / diagonal[:, None]).T).T
        found = matrix.new_zeros(2, self.num_movies, dim)
        found[:, self.rated, : target.shape[1]] = torch.stack([embedding, target])
        return found[0], found[1]


def gathered_matrix(examples: Interactions, value: Tensor, num_movies: int, world: World) -> Tensor | None:
    """Collects values of all ranks in a dense matrix; every rank calls this.

    Args:
        examples: Movies of this rank's users.
        value: Values, float ``[edges]``.
        num_movies: Movies of the dataset.
        world: The ranks.

    Returns:
        float64 ``[users with movies, movies]`` on rank 0, None on others.
    """
    counts = examples.user_ptr.diff()
    own = counts[counts > 0].cpu().numpy(), examples.movie.cpu().numpy(), value.double().cpu().numpy()
    parts = world.all_gather_objects(own)
    if not world.is_main:
        return None
    count, movie, values = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts))
    matrix = torch.zeros(len(count), num_movies, dtype=torch.float64)
    matrix[torch.arange(len(count)).repeat_interleave(count), movie.long()] = values
    return matrix.to(world.device)
