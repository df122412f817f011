"""Ranking model: one linear map from the movies that a user likes to scores of all movies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnnrec import rng
from gnnrec.graph.interactions import Interactions
from gnnrec.graph.ranking_batch import RankingBatch
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.ranking_losses import bpr_loss, sampled_softmax_loss, softmax_loss, squared_loss
from gnnrec.models.ranking_options import RankingOptions
from gnnrec.models.tables import STREAMS

#: Expected norm of random initial rows.
_ROW_LENGTH = 0.09
#: Added to popularity before scores are divided by a power of it.
POPULARITY_OFFSET = 10.0
#: Initial factor of scores in likelihoods: closed-form scores are about 0.5, but good logits differ by several units.
_INITIAL_SCALE = 10.0


class RankingModel(nn.Module):
    """Linear item-to-item model with two tables of movies.

    A user's vector is the sum of the message embeddings of the movies that the user likes, with the weights of these
    ratings if there are some. A movie's score is the dot product of this vector and the movie's target row, over
    ``(popularity + 10) ** popularity_exponent``. Users have no rows, so new users are served like those of training.

    Attributes:
        message_embedding: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        log_scale: Logarithm of the factor of scores in likelihoods; absent with the squared loss.
        popularity_exponent: Scalar, not trained.
        popularity: Training ratings of each movie, ``[movies]``, not trained.

    Args:
        options: The options.
        popularity: Relevant training ratings of each movie over all ranks, ``[movies]``.
        seed: Seed of the run.
    """

    def __init__(self, options: RankingOptions, popularity: Tensor, seed: int):
        super().__init__()
        self.loss = options.loss
        rows = torch.arange(popularity.numel(), device=popularity.device)

        def table(name: str) -> nn.Parameter:
            values = rng.normal_rows(rng.key(seed, "init", "ranking", STREAMS[name]), rows, options.dim)
            return nn.Parameter(values.mul_(_ROW_LENGTH / math.sqrt(options.dim)).to(torch.get_default_dtype()))

        self.message_embedding, self.target = table("message_embedding"), table("target")
        if options.loss != "squared":
            self.log_scale = nn.Parameter(torch.tensor(math.log(_INITIAL_SCALE), device=popularity.device))
        # Not buffers: DDP would broadcast those in every step.
        self.popularity_exponent = nn.Parameter(self.message_embedding.new_zeros(()), requires_grad=False)
        self.popularity = nn.Parameter(popularity.to(self.message_embedding), requires_grad=False)

    def forward(self, batch: RankingBatch) -> Tensor:
        """Computes the loss, summed over the users of this rank in the step, float scalar."""
        if self.loss == "squared":
            return squared_loss(self.message_embedding, self.target, batch)
        scale = self.log_scale.exp()
        if self.loss == "softmax":
            return softmax_loss(self.message_embedding, self.target, batch, scale)
        if self.loss == "sampled_softmax":
            return sampled_softmax_loss(self.message_embedding, self.target, batch, scale)
        return bpr_loss(self.message_embedding, self.target, batch, scale)

    @torch.no_grad()
    def set_tables(self, message_embedding: Tensor, target: Tensor, columns: int) -> None:
        """Copies the first columns of tables, float ``[movies, dim]``.

        The other columns become zero in both tables. Their gradients are then zero too, so they stay zero in training.
        """
        for parameter, values in ((self.message_embedding, message_embedding), (self.target, target)):
            parameter.zero_()
            parameter[:, :columns] = values[:, :columns]

    @torch.no_grad()
    def set_popularity_exponent(self, exponent: float) -> None:
        """Sets the exponent of the popularity that scores are divided by."""
        self.popularity_exponent.fill_(exponent)

    @torch.no_grad()
    def movie_vectors(self) -> Tensor:
        """Returns target rows divided by the power of popularity: float ``[movies, dim]``."""
        return self.target * self.popularity_discount()[:, None]

    @torch.no_grad()
    def popularity_discount(self) -> Tensor:
        """Returns the factor of the scores of each movie: float ``[movies]``."""
        return self.popularity.add(POPULARITY_OFFSET).pow(-self.popularity_exponent)

    @torch.no_grad()
    def user_vectors(self, liked: Interactions) -> Tensor:
        """Computes user vectors from liked movies: float ``[users, dim]``, zero for a user without liked movies."""
        return liked.sums(self.message_embedding)

    @torch.no_grad()
    def scores(self, liked: Interactions) -> Tensor:
        """Computes the scores of all movies, float ``[users, movies]``."""
        return self.user_vectors(liked) @ self.movie_vectors().T

    def embed(self, liked: Interactions) -> NodeEmbeddings:
        """Computes vectors whose dot products are the scores."""
        users, movies = self.user_vectors(liked), self.movie_vectors()
        return NodeEmbeddings(
            user=users,
            movie=movies,
            user_bias=users.new_zeros(users.shape[0]),
            movie_bias=movies.new_zeros(movies.shape[0]),
            offset=users.new_zeros(()),
        )
