"""Movies without training ratings in the embeddings of a rating model: features are all that it knows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gnnrec.data.features.node_features import FeatureGroup
from gnnrec.distributed.world import World
from gnnrec.models.cold_rows import ColdRows
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.head import DotHead
from gnnrec.models.tables import NodeTables

#: Exponent of the ratings of a movie in its weight, when features are fitted to the vectors of movies.
_POWER = 1.0


#: Part of the fitted rows where no validation rating tells a better one.
DEFAULT_SHARE = 0.5


class ColdMovies(ColdRows):
    """Vectors and biases of movies from their features, fitted to those of movies with ratings.

    The maps that training learns give other vectors, which are nearer to zero: better for movies that hardly anybody
    will rate. Validation chooses how much of both.

    Attributes:
        share: Part of the fitted vectors, from 0 to 1; the rest is that of the trained maps. Float scalar, initially 0.
    """

    def __init__(self, columns: int, schema: tuple[FeatureGroup, ...], movies: int, dim: int):
        super().__init__(columns, schema, movies, dim + 1)
        self.share = nn.Parameter(torch.zeros(()), requires_grad=False)

    @torch.no_grad()
    def choose_share(self, predict: Callable[[], Tensor], rating: Tensor, world: World) -> None:
        """Sets the share with the smallest squared error on validation; every rank calls this.

        Args:
            predict: Predicts ratings of movies without training ratings with the current share, float ``[targets]``.
            rating: These ratings.
            world: The ranks.
        """
        predicted = []
        for share in (0.0, 1.0):
            self.share.fill_(share)
            predicted.append(predict().double())
        change = predicted[1] - predicted[0]
        products = torch.stack([change @ (rating.double() - predicted[0]), change @ change])
        gained, squares = world.all_reduce_sum_(products).tolist()
        self.share.fill_(min(max(gained / squares, 0.0), 1.0) if squares else DEFAULT_SHARE)

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
        """Changes vectors and biases of movies whose rows are zero, as they had no ratings in training."""
        assert movies.x is not None
        cold = torch.stack([~table.view(len(table), -1).any(1) for table in movies.tables().values()]).all(0)
        index = cold.nonzero().squeeze(1)
        rows = self(movies.x[index]).to(embeddings.movie)
        share = self.share.to(rows)
        movie = torch.lerp(embeddings.movie[index], rows[:, :-1], share)
        bias = torch.lerp(embeddings.movie_bias[index], rows[:, -1], share)
        return dataclasses.replace(
            embeddings,
            movie=embeddings.movie.index_copy(0, index, movie),
            movie_bias=embeddings.movie_bias.index_copy(0, index, bias),
        )
