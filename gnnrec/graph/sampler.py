"""Built-in neighbor sampler: tensor operations on the device of the graph."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.graph.pyg import BaseSampler, EdgeSamplerInput, HeteroSamplerOutput, NodeSamplerInput
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.kernels.neighbor_lists import NeighborLists
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
        slots: Outputs may have empty slots, which have edge -1, and users that are neither seeds nor drawn, so that the
            host does not wait for the numbers of draws and users. Users are then :attr:`RankGraph.local_rows` itself
            if draws may reach as many. :class:`gnnrec.graph.loader.RatingLoader` accepts both, but PyG's own loaders
            do not.
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
        movies = self._movie_rows if self.movies is None else self.movies
        # The user of an empty slot is the row after the last one.
        movie, rater_edge, rater = self._draw("raters", movies, 0, self._raters, self.raters_per_movie, graph.num_users)
        users, lookup = self._users(seeds, rater)
        receivers, lists = seeds, self._rated
        if self.hops > 1:
            receivers = users
            if lookup is None:
                lists = dataclasses.replace(lists, degree=lists.degree * self._present(seeds, rater))
        if self.slots and lookup is not None:
            users = users.clamp(max=graph.num_users - 1)
        user, edge, rated = self._draw("movies", receivers, graph.part.start, lists, self.movies_per_user, -1)
        return HeteroSamplerOutput(
            node={USER: users, MOVIE: self._movie_rows},
            row={RATED_BY: rated, RATES: rater if lookup is None else lookup[rater]},
            col={RATED_BY: user if lookup is None else lookup[user], RATES: movie},
            edge={RATED_BY: edge, RATES: rater_edge},
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

    @cached_property
    def _movie_rows(self) -> Tensor:
        return torch.arange(self.graph.num_movies, device=self.graph.device)

    @cached_property
    def _rated(self) -> NeighborLists:
        """The movies of users, and those of row ``num_users``, which is no user and has none."""
        degree, pointer = self.graph.user_degree, self.graph.user_ptr
        return NeighborLists(
            torch.cat([degree, degree.new_zeros(1)]), torch.cat([pointer, pointer[-1:]]), self.graph.movie
        )

    @cached_property
    def _raters(self) -> NeighborLists:
        """The raters of movies, of which this rank has its own users."""
        graph = self.graph
        return NeighborLists(graph.movie_degree, graph.movie_ptr, graph.user, graph.movie_start, graph.order)

    def _draw(
        self, name: str, nodes: Tensor, first: int, lists: NeighborLists, fan_out: int, missing: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draws neighbors as :func:`~gnnrec.kernels.sampling.draw_slots` does, without slots unless they are few."""
        stream = rng.key(self.stream, name)
        if self.slots and 0 <= fan_out and nodes.numel() * fan_out <= _MOST_SLOTS:
            return draw_slots(stream, nodes, first, lists, fan_out, missing)
        node, position = draw(stream, nodes + first, lists.degree[nodes], fan_out)
        node = nodes[node]
        if lists.start is not None:
            position -= lists.start[node]
            owned = (position >= 0) & (position < lists.pointer.diff()[node])
            owned = owned.nonzero().squeeze(1)
            node, position = node[owned], position[owned]
        place = lists.pointer[node] + position
        edge = place if lists.edge is None else lists.edge[place].to(torch.int64)
        return node, edge, lists.neighbor[place].to(torch.int64)

    def _users(self, seeds: Tensor, raters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the users of the batch, and each local user's row in the batch, -1 for none.

        Seeds come first. With slots, users are those of the rank in row order if draws may reach as many, without a
        lookup; otherwise row ``num_users`` fills the places that draws may leave.
        """
        num_users, most = self.graph.num_users, seeds.numel() + raters.numel()
        if self.slots and most >= num_users:
            return self.graph.local_rows, None
        present = self._present(seeds, raters)[:num_users]
        present[seeds] = False
        if self.slots:
            others = torch.nonzero_static(present, size=raters.numel(), fill_value=num_users).squeeze(1)
        else:
            others = present.nonzero().squeeze(1)
        users = torch.cat([seeds, others])
        lookup = torch.full((num_users + 1,), -1, dtype=torch.int64, device=self.graph.device)
        lookup[users] = torch.arange(users.numel(), device=users.device)
        return users, lookup

    def _present(self, seeds: Tensor, raters: Tensor) -> Tensor:
        """Returns which users are seeds or raters, bool ``[users + 1]``, the last of which is no user."""
        present = torch.zeros(self.graph.num_users + 1, dtype=torch.bool, device=self.graph.device)
        present[raters] = True
        present[seeds] = True
        return present

    def sampling_scale(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Computes edges in the whole graph over sampled edges, for users (local rows) and for all movies."""
        of_users, of_movies = self._sampling_scales
        return of_users if users is self.graph.local_rows else of_users[users], of_movies

    @cached_property
    def _sampling_scales(self) -> tuple[Tensor, Tensor]:
        """:meth:`sampling_scale` of all users and movies."""
        graph = self.graph
        return (
            _sampling_scale(graph.user_degree, self.movies_per_user, graph.dtype),
            _sampling_scale(graph.movie_degree, self.raters_per_movie, graph.dtype),
        )

    @property
    def edge_permutation(self) -> None:
        return None


def _sampling_scale(degree: Tensor, fan_out: int, dtype: torch.dtype) -> Tensor:
    drawn = degree if fan_out < 0 else degree.clamp(max=fan_out)
    return degree.to(dtype) / drawn.clamp(min=1).to(dtype)
