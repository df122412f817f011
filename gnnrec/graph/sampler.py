"""Built-in neighbor sampler: tensor operations on the device of the graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput

from gnnrec import rng
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.sampling import draw, draw_slots

USER, MOVIE = "user", "movie"
RATES = (USER, "rates", MOVIE)
RATED_BY = (MOVIE, "rated_by", USER)
#: Most slots of a fixed number of draws per node; more draws than that are counted first.
_MOST_SLOTS = 1 << 24


class BipartiteSampler(BaseSampler):
    """Samples the neighborhoods of seed users and of *all* movies, with PyG's sampler interface.

    Movies are a second set of seeds: every rank draws from the global rater lists and keeps the draws of its own users.
    So the sample does not depend on the number of ranks. Nodes of an output are local user rows and movie rows; its
    edge ids are positions by user (:class:`RankGraph`).

    Args:
        graph: The rank's graph.
        seed: Seed of the run.
        movies_per_user: Movies drawn for each user; negative for all.
        raters_per_movie: Raters drawn for each movie over all ranks; negative for all.
        hops: 1 draws neighbors of seeds and movies only, 2 or more also of the sampled raters.
        slots: Outputs may have empty slots, which have edge -1, so that the host does not wait for the number of draws.
            :class:`gnnrec.graph.loader.RatingLoader` accepts them, but PyG's own loaders do not.
    """

    def __init__(
        self,
        graph: RankGraph,
        seed: int,
        movies_per_user: int,
        raters_per_movie: int,
        hops: int,
        slots: bool = False,
    ):
        self.graph, self.seed, self.hops, self.slots = graph, seed, hops, slots and graph.num_edges > 0
        self.movies_per_user, self.raters_per_movie = movies_per_user, raters_per_movie
        self.stream = rng.key(seed, "neighbours", 0)
        self.movies: Tensor | None = None

    def set_step(self, epoch: int, step: int, movies: Tensor | None = None) -> None:
        """Sets the step of the next draws, and the movies that need raters (int64 ``[n]``, None for all)."""
        self.stream, self.movies = rng.key(self.seed, "neighbours", epoch, step), movies

    def sample_from_nodes(self, inputs: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """Samples the neighborhoods of seed users ``inputs.node`` (local rows) and of movies."""
        if inputs.input_type not in (None, USER):
            raise ValueError(f"seeds are nodes of type {USER!r}, not {inputs.input_type!r}")
        graph = self.graph
        seeds = inputs.node.to(graph.device)
        movie, rater_edge = self._draw_raters()
        # The users of empty slots are the row after the last one.
        rater = self._rows(graph.user, rater_edge, graph.num_users)
        users, lookup = self._compact(seeds, rater)
        expanded = users if self.hops > 1 else seeds
        receiver, position = self._draw(
            rng.key(self.stream, "movies"),
            graph.user_rows[expanded],
            graph.user_degree[expanded],
            self.movies_per_user,
        )
        edge = graph.user_ptr[expanded][receiver] + position
        if self.slots:
            edge = torch.where(position >= 0, edge, -1)
        return HeteroSamplerOutput(
            node={USER: users, MOVIE: torch.arange(graph.num_movies, device=graph.device)},
            row={RATED_BY: self._rows(graph.movie, edge, -1), RATES: lookup[rater]},
            col={RATED_BY: receiver, RATES: movie},
            edge={RATED_BY: edge, RATES: self._rows(graph.order, rater_edge, -1)},
            batch=None,
            metadata=(inputs.input_id, inputs.time),
        )

    def sample_from_edges(self, inputs: EdgeSamplerInput, neg_sampling: Any = None) -> HeteroSamplerOutput:
        """Samples the neighborhoods of the users of supervised (user, movie) edges, for PyG's ``LinkLoader``."""
        if neg_sampling is not None:
            raise NotImplementedError("negatives are drawn by the loss, not by the sampler")
        if inputs.input_type not in (None, RATES):
            raise ValueError(f"supervised edges are {RATES}, not {inputs.input_type}")
        users, label = torch.unique(inputs.row, return_inverse=True)
        out = self.sample_from_nodes(NodeSamplerInput(input_id=None, node=users))
        labels = torch.stack([label, inputs.col.to(label)])
        out.metadata = (inputs.input_id, labels, inputs.label, inputs.time)
        return out

    def _draw_raters(self) -> tuple[Tensor, Tensor]:
        """Returns movie and position by movie of the draws among this rank's users."""
        graph = self.graph
        movies, degree = torch.arange(graph.num_movies, device=graph.device), graph.movie_degree
        if self.movies is not None:
            movies, degree = self.movies, degree[self.movies]
        movie, position = self._draw(rng.key(self.stream, "raters"), movies, degree, self.raters_per_movie)
        movie = movies[movie]
        position -= graph.movie_start[movie]
        owned = (position >= 0) & (position < graph.movie_ptr.diff()[movie])
        if self.slots:
            return movie, torch.where(owned, graph.movie_ptr[movie] + position, -1)
        owned = owned.nonzero().squeeze(1)
        movie, position = movie[owned], position[owned]
        return movie, graph.movie_ptr[movie] + position

    def _draw(self, stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
        """Draws as :func:`~gnnrec.kernels.sampling.draw` does, or into slots if they may be empty and are few."""
        few = 0 <= fan_out and ids.numel() * fan_out <= _MOST_SLOTS
        return (draw_slots if self.slots and few else draw)(stream, ids, degree, fan_out)

    def _rows(self, table: Tensor, edge: Tensor, missing: int) -> Tensor:
        """Returns the entries of a table of edges as int64, and ``missing`` for empty slots."""
        if not self.slots:
            return table[edge].to(torch.int64)
        return torch.where(edge >= 0, table[edge.clamp(min=0)].to(torch.int64), missing)

    def _compact(self, seeds: Tensor, raters: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the users of the batch, seeds first, and each local user's row in the batch (-1 for none).

        Row ``num_users`` of raters is no user.
        """
        num_users = self.graph.num_users
        present = torch.zeros(num_users + 1, dtype=torch.bool, device=self.graph.device)
        present[raters] = True
        present[seeds] = False
        users = torch.cat([seeds, present[:num_users].nonzero().squeeze(1)])
        lookup = torch.full((num_users + 1,), -1, dtype=torch.int64, device=self.graph.device)
        lookup[users] = torch.arange(users.numel(), device=users.device)
        return users, lookup

    def sampling_scale(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Computes edges in the whole graph over sampled edges, for users (local rows) and for all movies."""
        dtype = self.graph.dtype
        return (
            _sampling_scale(self.graph.user_degree[users], self.movies_per_user, dtype),
            _sampling_scale(self.graph.movie_degree, self.raters_per_movie, dtype),
        )

    @property
    def edge_permutation(self) -> None:
        return None


def _sampling_scale(degree: Tensor, fan_out: int, dtype: torch.dtype) -> Tensor:
    drawn = degree if fan_out < 0 else degree.clamp(max=fan_out)
    return degree.to(dtype) / drawn.clamp(min=1).to(dtype)
