"""Rating model: encoder, rating head and biases."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gnnrec import rng
from gnnrec.data.features.node_features import FeatureGroup, NodeFeatures
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch, Targets
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.time_bins import NUM_TEMPORAL_BIASES
from gnnrec.kernels.errors import squared_errors
from gnnrec.kernels.scaled_biases import scaled_biases
from gnnrec.kernels.updates import keep_norms
from gnnrec.models.cold_movies import ColdMovies
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.encoder import DropoutState, Encoder
from gnnrec.models.features import FeatureMap, GenreFeatures, load_features
from gnnrec.models.fetched_tables import FetchedTables
from gnnrec.models.head import DotHead, MLPHead
from gnnrec.models.hidden_nodes import HiddenNodes, hide_ratings
from gnnrec.models.options import ModelOptions
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import NodeTables, reset_weights, row_shapes

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
        movie_x: Features of all movies, float ``[movies, columns]``, on the device of the model; None without.
        movie_schema: Groups of their columns.
        user_columns: Columns of the features of users; 0 without.
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
        movie_x: Tensor | None = None,
        movie_schema: tuple[FeatureGroup, ...] = (),
        user_columns: int = 0,
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
        movie_shapes = {name: tuple(table.shape[1:]) for name, table in self.movies.tables().items()}
        if genres is not None and options.genres:
            self.genres = GenreFeatures(genres, movie_shapes)
        self.movies.x = movie_x
        self.movie_features = self.cold_movies = None
        if movie_x is not None:
            self.movie_features = FeatureMap(movie_x.shape[1], movie_shapes)
            self.cold_movies = ColdMovies(movie_x.shape[1], movie_schema, num_movies, options.dim)
        self.user_features = FeatureMap(user_columns, self.user_row_shapes) if user_columns else None
        self.offset = nn.Parameter(torch.zeros(()))
        # Factor of the closed-form biases. softplus keeps it positive: a negative one could decode targets from them.
        self.bias_multiple = nn.Parameter(torch.tensor(math.log(math.e - 1)))
        # Not trained: given, or chosen on validation by :mod:`gnnrec.training.shrinkage`.
        self.shrinkage = nn.Parameter(torch.tensor(options.shrinkage or 1.0), requires_grad=False)
        # Factors of the temporal biases, initially 0.5.
        if time:
            self.temporal_bias_scale = nn.Parameter(torch.full((NUM_TEMPORAL_BIASES,), math.log(math.exp(0.5) - 1)))

    def user_tables(
        self, graph: RankGraph, memory: RowMemory | None = None, features: NodeFeatures | None = None
    ) -> NodeTables:
        """Builds the tables of this rank's users, which are not under DDP.

        Args:
            graph: The rank's graph.
            memory: Memory of the rows; None for the graph's device. Rows in other memory are fetched when needed.
            features: Features of all users; None without.
        """
        options = self.options
        kind = NodeTables if memory is None else FetchedTables
        tables = kind(
            "user", graph.user_rows, options.dim, self.seed, options.init_std, options.init_std,
            ids=options.user_ids or not options.layers, messages=options.layers > 0, memory=memory,
        )  # fmt: skip
        if isinstance(tables, FetchedTables):
            tables.compute_device = graph.device
        if features is not None:
            tables.x = load_features(features, graph.part, tables.memory)
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
        """Returns the movie tables, genres and features included."""
        rows = _with_features(self.movie_features, self.movies.rows(), None)
        return rows if self.genres is None else self.genres(rows, self.genres.x)

    def user_rows(self, rows: dict[str, Tensor], hidden: HiddenNodes | None = None) -> dict[str, Tensor]:
        """Returns table rows of users (:meth:`gnnrec.models.tables.NodeTables.rows`), features included.

        Args:
            rows: The rows.
            hidden: Users without rows in training, in the same order; None for none.
        """
        return _with_features(self.user_features, rows, hidden)

    def hidden(self, batch: Batch, pass_key: int | None) -> HiddenNodes | None:
        """Draws the users of a batch that a pass treats as unknown; None without features of users.

        Args:
            batch: The batch.
            pass_key: Key of the pass; None in inference, which treats none as unknown.
        """
        if self.user_features is None:
            return None
        return HiddenNodes.draw(pass_key, self.options.row_dropout, "user", batch.user_rows, batch.movie_bias.dtype)

    def embed(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        dropout_state: DropoutState | None = None,
        stale_sums: list[StaleSums] | None = None,
        pass_key: int | None = None,
    ) -> NodeEmbeddings:
        """Computes embeddings for the users of the batch and for all movies.

        Args:
            batch: Messages and closed-form biases.
            users: Table rows of the users of the batch.
            dropout_state: Source of dropout masks, or None for no dropout.
            stale_sums: The layers at older parameters, for sampling with a control variate.
            pass_key: Key of the pass, from which users with features that it treats as unknown are drawn; None for
                none of them.
        """
        hidden = self.hidden(batch, pass_key)
        users, movies = self.user_rows(users, hidden), self.movie_rows()
        batch = hide_ratings(batch, hidden)
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

    def finished(self, embeddings: NodeEmbeddings, batch: Batch) -> NodeEmbeddings:
        """Finishes embeddings for inference: cold movies are those of their features, and all is shrunk.

        All of a prediction but mean and closed-form biases is multiplied by :attr:`shrinkage`.
        """
        if self.cold_movies is not None:
            embeddings = self.cold_movies.replace(self.movies, embeddings)
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
        pass_key: int | None = None,
    ) -> Tensor:
        """Computes the sum of squared errors over this rank's targets, float scalar.

        Where targets have temporal biases, half of each error is that with them and half that without: the model is
        used in both ways, and vectors that are exported know no time.

        Args:
            batch: Messages and targets.
            users: Table rows of the users of the batch.
            step_key: Key of this step's dropout masks; None switches dropout off.
            stale_sums: The layers at older parameters, for sampling with a control variate.
            pass_key: Key of this pass's unknown users; None for none.
        """
        rate = self.options.dropout
        dropout_state = DropoutState(rng.key(step_key, "dropout"), rate) if step_key is not None and rate > 0 else None
        targets = batch.targets
        embeddings = self.embed(batch, users, dropout_state, stale_sums, pass_key)
        factor = None if targets.temporal_bias is None else softplus(self.temporal_bias_scale)
        score = self._score_without_offset(embeddings, targets)
        return squared_errors(score, embeddings.offset, targets.rating, targets.temporal_bias, factor)


def _with_features(
    features: FeatureMap | None, rows: dict[str, Tensor], hidden: HiddenNodes | None
) -> dict[str, Tensor]:
    """Adds features, which are among the rows as ``x``, to the other rows, which hidden nodes lose."""
    if features is None:
        return rows
    tables = {name: table for name, table in rows.items() if name != "x"}
    return features(tables, rows["x"], None if hidden is None else hidden.kept)
