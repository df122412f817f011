"""Movies without training ratings in the embeddings of a rating model: known by their features alone."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import World
from gnnrec.models.cold_rows import ColdRows
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead
from gnnrec.models.tables import NodeTables

#: Exponent of the ratings of a movie in its weight, when features are fitted to the vectors of movies.
_POWER = 0.5


class ColdMovies(ColdRows):
    """Vectors and biases of movies from their features, fitted to those of movies with ratings."""

    @torch.no_grad()
    def fit_embeddings(
        self, x: Tensor, head: nn.Module, embeddings: NodeEmbeddings, ratings: Tensor, world: World
    ) -> None:
        """Fits vectors and biases of movies to their features; every rank calls this.

        Args:
            x: Features of all movies, float ``[movies, columns]``.
            head: The head of the model.
            embeddings: Those of this rank's users and of all movies, before :meth:`replace` and shrinkage.
            ratings: Training ratings of each movie, int64 ``[movies]``.
            world: The ranks.
        """
        users = embeddings.user
        if isinstance(head, DotHead):
            users = users * head.linear.weight
        users = torch.cat([users, users.new_ones(len(users), 1)], 1).double()
        products = world.all_reduce_sum_(users.T @ users)
        rows = torch.cat([embeddings.movie, embeddings.movie_bias[:, None]], 1)
        self.fit(x, rows, ratings, products, world, _POWER)

    @torch.no_grad()
    def replace(self, movies: NodeTables, embeddings: NodeEmbeddings) -> NodeEmbeddings:
        """Replaces vectors and biases of movies whose rows are zero, as they had no ratings in training."""
        assert movies.x is not None
        cold = torch.stack([~table.view(len(table), -1).any(1) for table in movies.tables().values()]).all(0)
        index = cold.nonzero().squeeze(1)
        rows = self(movies.x[index]).to(embeddings.movie)
        return dataclasses.replace(
            embeddings,
            movie=embeddings.movie.index_copy(0, index, rows[:, :-1]),
            movie_bias=embeddings.movie_bias.index_copy(0, index, rows[:, -1]),
        )
