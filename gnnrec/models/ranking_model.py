"""Ranking model: one linear map from the movies that a user likes to scores of all movies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnnrec import rng
from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions
from gnnrec.graph.ranking_batch import RankingBatch
from gnnrec.models.cold_rows import ColdRows
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

    Cold movies, which no user likes in training, have rows of zeros. With features of movies, :meth:`fit_cold_rows`
    computes other rows for them, which all vectors and scores have; the loss knows nothing of them.

    Attributes:
        message_embedding: Float ``[movies, dim]``.
        target: Float ``[movies, dim]``.
        log_scale: Logarithm of the factor of scores in likelihoods; absent with the squared loss.
        popularity_exponent: Scalar, not trained.
        popularity: Training ratings of each movie, ``[movies]``, not trained.
        cold_rows: Rows of cold movies; None without features.

    Args:
        options: The options.
        popularity: Relevant training ratings of each movie over all ranks, ``[movies]``.
        seed: Seed of the run.
        features: Features of movies; None without.
    """

    def __init__(self, options: RankingOptions, popularity: Tensor, seed: int, features: NodeFeatures | None = None):
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
        self.cold_rows = None
        self._cold: tuple[Tensor, Tensor, Tensor] | None = None
        if features is not None:
            self.x = torch.from_numpy(features.read()).to(self.message_embedding)  # not a buffer
            self.cold_rows = ColdRows(self.x.shape[1], features.schema, len(self.x), 2 * options.dim)
            with torch.no_grad():
                for values in (self.message_embedding, self.target):
                    values[self.popularity == 0] = 0

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
        self._cold = None

    @torch.no_grad()
    def set_popularity_exponent(self, exponent: float) -> None:
        """Sets the exponent of the popularity that scores are divided by."""
        self.popularity_exponent.fill_(exponent)

    @torch.no_grad()
    def keep_cold_rows(self) -> None:
        """Sets gradients of the rows of cold movies to zero, which some losses push away as negatives."""
        if self.cold_rows is not None:
            cold = self._is_cold()
            for table in (self.message_embedding, self.target):
                table.grad[cold] = 0

    def _is_cold(self) -> Tensor:
        return (self.popularity == 0) & ~(self.message_embedding.any(1) | self.target.any(1))

    @torch.no_grad()
    def fit_cold_rows(self, liked: Interactions, world: World) -> None:
        """Computes rows of cold movies from their features; every rank calls this.

        Args:
            liked: Relevant training ratings of this rank's users.
            world: The ranks.
        """
        if self.cold_rows is None:
            return
        users = liked.sums(self.message_embedding)
        products = world.all_reduce_sum_(users.T @ users)
        rows = torch.cat([self.message_embedding, self.target], 1)
        of_scores = slice(self.target.shape[1], None)
        self.cold_rows.fit(self.x, rows, self.popularity, products, world, measured=of_scores)
        self._cold = None

    def _with_cold(self, table: Tensor, number: int) -> Tensor:
        """Puts rows of cold movies into message embeddings (0) or target rows (1)."""
        if self.cold_rows is None:
            return table
        if self._cold is None:
            movies = self._is_cold().nonzero().squeeze(1)
            self._cold = (*self.cold_rows(self.x[movies]).chunk(2, 1), movies)
        return table.index_copy(0, self._cold[2], self._cold[number])

    @torch.no_grad()
    def message_rows(self) -> Tensor:
        """Returns message embeddings, with those of cold movies: float ``[movies, dim]``."""
        return self._with_cold(self.message_embedding, 0)

    @torch.no_grad()
    def movie_vectors(self) -> Tensor:
        """Returns target rows divided by the power of popularity: float ``[movies, dim]``."""
        return self._with_cold(self.target, 1) * self.popularity_discount()[:, None]

    @torch.no_grad()
    def new_movie_vectors(self, x: Tensor) -> Tensor:
        """Computes vectors of movies that are not in the dataset, from their features, float ``[n, columns]``."""
        assert self.cold_rows is not None
        return self.cold_rows(x).chunk(2, 1)[1] * self._cold_popularity().add(POPULARITY_OFFSET).pow(
            -self.popularity_exponent
        )

    @torch.no_grad()
    def popularity_discount(self) -> Tensor:
        """Returns the factor of the scores of each movie: float ``[movies]``."""
        popularity: Tensor = self.popularity
        if self.cold_rows is not None:
            popularity = torch.where(popularity > 0, popularity, self._cold_popularity())
        return popularity.add(POPULARITY_OFFSET).pow(-self.popularity_exponent)

    def _cold_popularity(self) -> Tensor:
        """Popularity that cold movies are taken to have: the mean of the others."""
        return self.popularity.sum() / (self.popularity > 0).sum().clamp(min=1)

    @torch.no_grad()
    def user_vectors(self, liked: Interactions) -> Tensor:
        """Computes user vectors from liked movies: float ``[users, dim]``, zero for a user without liked movies."""
        return liked.sums(self.message_rows())

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
