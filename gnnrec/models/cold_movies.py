"""Movies without training ratings in the embeddings of a rating model: known by their features alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead

if TYPE_CHECKING:
    from gnnrec.models.rating_model import RatingModel

#: Exponent of the ratings of a movie in its weight, when features are fitted to the vectors of movies.
_POWER = 0.5


@torch.no_grad()
def fit_cold_rows(model: RatingModel, embeddings: NodeEmbeddings, ratings: Tensor, world: World) -> None:
    """Fits vectors and biases of movies to their features; every rank calls this.

    Args:
        model: The model, without DDP.
        embeddings: Those of this rank's users and of all movies, before :func:`with_cold_movies` and shrinkage.
        ratings: Training ratings of each movie, int64 ``[movies]``.
        world: The ranks.
    """
    if model.cold_rows is None:
        return
    users = embeddings.user
    if isinstance(model.head, DotHead):
        users = users * model.head.linear.weight
    users = torch.cat([users, users.new_ones(len(users), 1)], 1).double()
    products = world.all_reduce_sum_(users.T @ users)
    rows = torch.cat([embeddings.movie, embeddings.movie_bias[:, None]], 1)
    model.cold_rows.fit(model.movies.x, rows, ratings, products, world, _POWER)


@torch.no_grad()
def with_cold_movies(model: RatingModel, embeddings: NodeEmbeddings) -> NodeEmbeddings:
    """Replaces vectors and biases of movies without training ratings by those that follow from their features."""
    if model.cold_rows is None:
        return embeddings
    cold = torch.stack([~table.view(len(table), -1).any(1) for table in model.movies.tables().values()]).all(0)
    movies = cold.nonzero().squeeze(1)
    rows = model.cold_rows(model.movies.x[movies]).to(embeddings.movie)
    return dataclasses.replace(
        embeddings,
        movie=embeddings.movie.index_copy(0, movies, rows[:, :-1]),
        movie_bias=embeddings.movie_bias.index_copy(0, movies, rows[:, -1]),
    )
