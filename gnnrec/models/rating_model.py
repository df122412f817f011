"""Rating model: encoder, rating head and biases."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch, Targets
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.time_bins import NUM_TEMPORAL_BIASES
from gnnrec.kernels.errors import squared_errors
from gnnrec.kernels.scaled_biases import scaled_biases
from gnnrec.kernels.updates import keep_norms
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.encoder import DropoutState, Encoder
from gnnrec.models.fetched_tables import FetchedTables
from gnnrec.models.head import DotHead, MLPHead
from gnnrec.models.options import ModelOptions
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import GenreFeatures, NodeTables, reset_weights, row_shapes

if TYPE_CHECKING:
    from gnnrec.models.stale_sums import StaleSums


class RatingModel(nn.Module):
    """Replicated part of the model: movie tables, layers and head. User rows are inputs.

    Args:
        options: The model's options.
        num_movies: Movies.
        num_levels: Rating levels.
        mean_degrees: Mean message edges of a user and of a movie, which set the scale of messages.
        world: The ranks.
        seed: Seed of the run.
        genres: Float ``[movies, genres]`` membership, or None.
        time: Batches have temporal biases.
    """

    def __init__(
        self,
        options: ModelOptions,
        num_movies: int,
        num_levels: int,
        mean_degrees: tuple[float, float],
        world: World,
        seed: int,
        genres: Tensor | None = None,
        time: bool = False,
    ):
        super().__init__()
        self.options, self.world, self.seed = options, world, seed
        self.encoder = Encoder(options, num_levels, mean_degrees)
        self.head = DotHead(options.dim) if options.head == "dot" else MLPHead(options.dim, options.head_dim)
        reset_weights(self, seed)
        self.head.reset()
        for layer in self.encoder.layers:
            layer.reset()
        self.movies = NodeTables(
            "movie", torch.arange(num_movies), options.dim, seed, options.init_std, options.movie_id_init_std,
            ids=options.movie_ids or not options.layers, messages=options.layers > 0,
        )  # fmt: skip
        self.genres = None
        if genres is not None and options.genres:
            self.genres = GenreFeatures(genres, options.dim, list(self.movies.rows()))
        self.offset = nn.Parameter(torch.zeros(()))
        # Factor of the closed-form biases. softplus keeps it positive: a negative one could decode targets from them.
        self.bias_multiple = nn.Parameter(torch.tensor(math.log(math.e - 1)))
        # Not trained: given, or chosen on validation by :mod:`gnnrec.training.shrinkage`.
        self.shrinkage = nn.Parameter(torch.tensor(options.shrinkage or 1.0), requires_grad=False)
        # Factors of the temporal biases, initially 0.5.
        if time:
            self.temporal_bias_scale = nn.Parameter(torch.full((NUM_TEMPORAL_BIASES,), math.log(math.exp(0.5) - 1)))

    def user_tables(self, graph: RankGraph, memory: RowMemory | None = None) -> NodeTables:
        """Builds the tables of this rank's users, which are not under DDP.

        Args:
            graph: The rank's graph.
            memory: Memory of the rows; None for the graph's device. Rows in other memory are fetched when needed.
        """
        options = self.options
        kind = NodeTables if memory is None else FetchedTables
        tables = kind(
            "user", graph.user_rows, options.dim, self.seed, options.init_std, options.init_std,
            ids=options.user_ids or not options.layers, messages=options.layers > 0, memory=memory,
        )  # fmt: skip
        if isinstance(tables, FetchedTables):
            tables.compute_device = graph.device
        return tables

    @property
    def user_row_shapes(self) -> dict[str, tuple[int, ...]]:
        """Table -> shape of the row of one user (:meth:`user_tables`)."""
        options = self.options
        return row_shapes(options.dim, ids=options.user_ids or not options.layers, messages=options.layers > 0)

    @torch.no_grad()
    def keep_norms(self) -> None:
        """Restores the norms of linear layers after an optimizer step.

        L2 is on tables only. If linear layers could grow, tables would shrink and L2 would have no effect.
        """
        kept = self.head.kept_norms() + [pair for layer in self.encoder.layers for pair in layer.kept_norms()]
        keep_norms([weight for weight, _ in kept], [square for _, square in kept])

    def movie_rows(self) -> dict[str, Tensor]:
        """Returns the movie tables, genres included."""
        rows = self.movies.rows()
        return rows if self.genres is None else self.genres(rows)

    def embed(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        dropout_state: DropoutState | None = None,
        stale_sums: list[StaleSums] | None = None,
    ) -> NodeEmbeddings:
        """Computes embeddings for the users of the batch and for all movies.

        Args:
            batch: Messages and closed-form biases.
            users: Table rows of the users of the batch.
            dropout_state: Source of dropout masks, or None for no dropout.
            stale_sums: The layers at older parameters, for sampling with a control variate.
        """
        movies = self.movie_rows()
        user, movie = self.encoder(batch, users, movies, self.world, dropout_state, stale_sums)
        return self.with_biases(batch, user, movie, users["bias"], movies["bias"])

    def with_biases(
        self, batch: Batch, user: Tensor, movie: Tensor, user_bias: Tensor, movie_bias: Tensor
    ) -> NodeEmbeddings:
        """Adds learned biases, and closed-form biases times a learned factor."""
        user_bias, movie_bias = scaled_biases(
            user_bias, movie_bias, batch.user_bias, batch.movie_bias, self.bias_multiple
        )
        return NodeEmbeddings(
            user=user,
            movie=movie,
            user_bias=user_bias,
            movie_bias=movie_bias,
            offset=batch.mean + self.offset,
            temporal_bias=batch.temporal_bias,
        )

    def shrunk(self, embeddings: NodeEmbeddings, batch: Batch) -> NodeEmbeddings:
        """Multiplies all of a prediction but mean and closed-form biases by :attr:`shrinkage`, for inference."""
        # To read it, the host would wait for a GPU.
        if self.shrinkage.device.type == "cpu" and self.shrinkage == 1:
            return embeddings
        return dataclasses.replace(
            embeddings,
            user_bias=torch.lerp(batch.user_bias, embeddings.user_bias, self.shrinkage),
            movie_bias=torch.lerp(batch.movie_bias, embeddings.movie_bias, self.shrinkage),
            offset=torch.lerp(batch.mean, embeddings.offset, self.shrinkage),
            head_scale=self.shrinkage,
        )

    def score(self, embeddings: NodeEmbeddings, targets: Targets) -> Tensor:
        """Predicts the standardized ratings of targets without their times, not clipped: float ``[targets]``."""
        return embeddings.offset + self._score_without_offset(embeddings, targets)

    def _score_without_offset(self, embeddings: NodeEmbeddings, targets: Targets) -> Tensor:
        return self.head(
            embeddings.user,
            embeddings.movie,
            embeddings.user_bias,
            embeddings.movie_bias,
            targets,
            embeddings.head_scale,
        )

    def score_all(self, embeddings: NodeEmbeddings, users: Tensor) -> Tensor:
        """Predicts the standardized ratings of all movies by some users: float ``[n, movies]``.

        Args:
            embeddings: The embeddings.
            users: Local rows, int64 ``[n]``.
        """
        scores = self.head.all_movies(embeddings.user[users], embeddings.movie)
        if embeddings.head_scale is not None:
            scores = scores * embeddings.head_scale
        return scores + (embeddings.offset + embeddings.user_bias[users])[:, None] + embeddings.movie_bias

    def score_pairs(self, embeddings: NodeEmbeddings, users: Tensor, pointer: Tensor, movies: Tensor) -> Tensor:
        """Predicts the standardized ratings of given movies by some users: float ``[pairs]``.

        Args:
            embeddings: The embeddings.
            users: Local rows, int64 ``[n]``.
            pointer: Offsets of the movies of each user, int64 ``[n + 1]``.
            movies: Rows of movies, ascending for each user, ``[pairs]``.
        """
        chosen = dataclasses.replace(
            embeddings, user=embeddings.user[users], user_bias=embeddings.user_bias[users], temporal_bias=None
        )
        movies = movies.to(torch.int32)
        return self.score(chosen, Targets(pointer, movies, movies.to(embeddings.user.dtype), max(movies.numel(), 1)))

    def temporal_bias(self, targets: Targets) -> Tensor:
        """Learned share of the temporal biases of targets, which predictions with time add: float ``[targets]``."""
        return targets.temporal_bias @ softplus(self.temporal_bias_scale)

    def forward(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        step_key: int | None = None,
        stale_sums: list[StaleSums] | None = None,
    ) -> Tensor:
        """Computes the sum of squared errors over this rank's targets, float scalar.

        Where targets have temporal biases, half of each error is that with them and half that without: the model is
        used in both ways, and vectors that are exported know no time.

        Args:
            batch: Messages and targets.
            users: Table rows of the users of the batch.
            step_key: Key of this step's dropout masks; None switches dropout off.
            stale_sums: The layers at older parameters, for sampling with a control variate.
        """
        rate = self.options.dropout
        dropout_state = DropoutState(rng.key(step_key, "dropout"), rate) if step_key is not None and rate > 0 else None
        targets = batch.targets
        embeddings = self.embed(batch, users, dropout_state, stale_sums)
        factor = None if targets.temporal_bias is None else softplus(self.temporal_bias_scale)
        score = self._score_without_offset(embeddings, targets)
        return squared_errors(score, embeddings.offset, targets.rating, targets.temporal_bias, factor)


def genre_membership(genres: list[str]) -> Tensor | None:
    """Converts ``|``-separated genre strings to float ``[movies, genres]``; None if no movie has genres."""
    genres_of = [[name for name in text.split("|") if name and name != "(no genres listed)"] for text in genres]
    names = sorted({name for movie_genres in genres_of for name in movie_genres})
    if not names:
        return None
    column = {name: number for number, name in enumerate(names)}
    membership = torch.zeros(len(genres_of), len(names))
    pairs = [(movie, column[name]) for movie, movie_genres in enumerate(genres_of) for name in movie_genres]
    membership[tuple(torch.tensor(pairs).T)] = 1
    return membership
