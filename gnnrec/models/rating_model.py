"""The rating model: encoder, rating head, biases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from gnnrec import rng
from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch, Targets
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.time_bins import EFFECTS
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.encoder import DropoutState, Encoder
from gnnrec.models.fetched_tables import FetchedTables
from gnnrec.models.head import DotHead, MLPHead
from gnnrec.models.options import ModelOptions
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import GenreFeatures, NodeTables, reset_weights

if TYPE_CHECKING:
    from gnnrec.models.conv import StaleSums


class RatingModel(nn.Module):
    """The replicated part of the model: movie tables, layers and head. User rows are inputs.

    Args:
        options: The model's options.
        num_movies: Movies.
        num_levels: Rating levels.
        mean_degrees: Mean message edges of a user and of a movie, which set initial gains.
        world: The ranks.
        seed: Seed of the run.
        genres: Float ``[movies, genres]`` membership, or None.
        time: Batches come with effects of time.
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
        # A multiple of the closed-form biases that cannot turn negative: it would read targets out of them.
        self.bias_multiple = nn.Parameter(torch.tensor(math.log(math.e - 1)))
        # The same for effects of time, which begin at half of what they are.
        if time:
            self.temporal_bias_scale = nn.Parameter(torch.full((EFFECTS,), math.log(math.exp(0.5) - 1)))

    def user_tables(self, graph: RankGraph, memory: RowMemory | None = None) -> NodeTables:
        """The rows of this rank's users, outside DDP.

        Args:
            graph: The rank's graph.
            memory: Where rows are kept; None for the graph's device. From elsewhere they are fetched when needed.
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

    def keep_norms(self) -> None:
        """Takes growth back from linear maps after an optimizer step.

        L2 is on tables alone. Maps that grow let tables shrink, which would take the effect of L2 away, and the more
        so the stronger it is.
        """
        self.head.keep_norms()
        for layer in self.encoder.layers:
            layer.keep_norms()

    def movie_rows(self) -> dict[str, Tensor]:
        """Movie tables, genres included."""
        rows = self.movies.rows()
        return rows if self.genres is None else self.genres(rows)

    def embed(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        noise: DropoutState | None = None,
        stale_sums: list[StaleSums] | None = None,
    ) -> NodeEmbeddings:
        """NodeEmbeddings of the users of the batch and of all movies.

        Args:
            batch: Messages and closed-form biases.
            users: Table rows of the users of the batch.
            noise: Dropout, or None.
            stale_sums: The layers at older parameters, where messages are sampled with a control variate.
        """
        movies = self.movie_rows()
        user, movie = self.encoder(batch, users, movies, self.world, noise, stale_sums)
        return self.with_biases(batch, user, movie, users["bias"], movies["bias"])

    def with_biases(
        self, batch: Batch, user: Tensor, movie: Tensor, user_bias: Tensor, movie_bias: Tensor
    ) -> NodeEmbeddings:
        """Vectors with learned biases and a learned multiple of the closed-form ones."""
        multiple = softplus(self.bias_multiple)
        return NodeEmbeddings(
            user=user,
            movie=movie,
            user_bias=user_bias + multiple * batch.user_bias,
            movie_bias=movie_bias + multiple * batch.movie_bias,
            offset=batch.mean + self.offset,
            temporal_bias=batch.temporal_bias,
        )

    def score(self, embeddings: NodeEmbeddings, targets: Targets) -> Tensor:
        """Predicted ratings of targets, not clipped, float ``[targets]``."""
        scores = embeddings.offset + self.head(
            embeddings.user, embeddings.movie, embeddings.user_bias, embeddings.movie_bias, targets
        )
        return (
            scores
            if targets.temporal_bias is None
            else scores + targets.temporal_bias @ softplus(self.temporal_bias_scale)
        )

    def forward(
        self,
        batch: Batch,
        users: dict[str, Tensor],
        step_key: int | None = None,
        stale_sums: list[StaleSums] | None = None,
    ) -> Tensor:
        """Sum of squared errors over this rank's targets, float scalar.

        Args:
            batch: Messages and targets.
            users: Table rows of the users of the batch.
            step_key: What this step's dropout masks are drawn from; None switches dropout off.
            stale_sums: The layers at older parameters, where messages are sampled with a control variate.
        """
        rate = self.options.dropout
        noise = DropoutState(rng.key(step_key, "dropout"), rate) if step_key is not None and rate > 0 else None
        predicted = self.score(self.embed(batch, users, noise, stale_sums), batch.targets)
        return (predicted - batch.targets.rating).square().sum()


def genre_membership(genres: list[str]) -> Tensor | None:
    """Float ``[movies, genres]`` from ``|``-separated genre strings; None when there are none at all."""
    split = [[name for name in text.split("|") if name and name != "(no genres listed)"] for text in genres]
    names = sorted({name for each in split for name in each})
    if not names:
        return None
    column = {name: number for number, name in enumerate(names)}
    membership = torch.zeros(len(split), len(names))
    for row, each in enumerate(split):
        membership[row, [column[name] for name in each]] = 1
    return membership
