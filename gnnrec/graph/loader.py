"""PyG's ``NeighborLoader`` over the steps of an epoch: from sampled mini-batches to the whole graph."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.profiler import record_function
from torch_geometric.loader import NeighborLoader
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput

from gnnrec.graph.batch import Batch, Messages, receiver_totals, sampled_lists, step_targets, whole_graph
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.hetero import empty_hetero_data
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import RATED_BY, RATES, USER, BipartiteSampler
from gnnrec.graph.statistics import MessageStatistics, message_statistics


class RatingLoader(NeighborLoader):
    """Yields ``(step, batch)`` for the steps of an epoch.

    Seeds are users, not single edges: one encoding serves all supervised ratings of a user. Where PyG's loader joins a
    sampled subgraph with features, this one joins it with ratings, drops the edges of the step's fold and adds targets.

    Args:
        graph: The rank's graph.
        sampler: :class:`gnnrec.graph.sampler.BipartiteSampler` or :class:`gnnrec.graph.pyg_sampler.PyGSampler`; None
            for whole neighbourhoods of all users, where nothing is sampled or copied.
        message_dropout: Share of messages left out of each pass over the users.
        exact_totals: Divide sums over sampled messages by whole degrees, where a control variate makes them whole.
        active_rows: Find out which movies get messages in a step, on any rank; with one layer, draw raters of the
            movies of its targets alone.
        exclude: Keep the edges of the step's fold out of its messages. Only tests switch it off.
    """

    def __init__(
        self,
        graph: RankGraph,
        sampler: BaseSampler | None,
        message_dropout: float = 0.0,
        exact_totals: bool = False,
        exclude: bool = True,
        active_rows: bool = False,
    ):
        self.message_dropout, self.exact_totals, self.active_rows = message_dropout, exact_totals, active_rows
        self.graph, self.neighbor_sampler, self.exclude = graph, sampler, exclude
        self._statistics: tuple[tuple, MessageStatistics] | None = None
        self._dropout: tuple[tuple, MessageDropout] | None = None
        super().__init__(
            empty_hetero_data(graph),
            num_neighbors=[-1],
            input_nodes=(USER, torch.arange(graph.num_users, device=graph.device)),
            # Nothing calls this when whole neighbourhoods are taken, but NeighborLoader wants to have one.
            neighbor_sampler=sampler or BipartiteSampler(graph, 0, -1, -1, 1),
        )

    def batch(self, epoch: Epoch, step: Step) -> Batch:
        """The batch of one step."""
        with record_function("statistics"):
            statistics = self.statistics(epoch, step.fold)
        if self.neighbor_sampler is None:
            batch = whole_graph(self.graph, statistics)
        else:
            movies = self._needed(step_targets(statistics, step, self.graph.num_users).movie) if self.one_hop else None
            self.neighbor_sampler.set_step(epoch.epoch, step.index, *[] if movies is None else [movies])
            seeds = self.graph.user_rows - self.graph.part.start if step.seeds is None else step.seeds
            with record_function("sampling"):
                batch = self(seeds)
            if step.seeds is None:  # seeds come first, so these are all users in row order
                batch.users = None
        batch.targets = step_targets(statistics, step, batch.user_rows.numel())
        return batch

    def statistics(self, epoch: Epoch, fold: int) -> MessageStatistics:
        """Those of a pass; all its steps share them."""
        name = (epoch.seed, epoch.epoch, fold)
        if self._statistics is None or self._statistics[0] != name:
            dropout = self._dropout_of(epoch) if self.message_dropout else None
            slots = self.neighbor_sampler is not None
            # What the pass before was made of is given back first.
            self._statistics = None
            found = message_statistics(self.graph, epoch, fold, dropout, slots)
            if not self.exclude:
                found = _with_targets_among_messages(found, message_statistics(self.graph, epoch, -1, dropout, slots))
            self._statistics = name, found
        return self._statistics[1]

    def forget(self) -> None:
        """Gives back the memory of the latest pass."""
        self._statistics = None

    @property
    def current(self) -> MessageStatistics:
        """Those of the pass that the latest batch belongs to."""
        return self._statistics[1]

    def _dropout_of(self, epoch: Epoch) -> MessageDropout:
        name = (epoch.seed, epoch.epoch)
        if self._dropout is None or self._dropout[0] != name:
            self._dropout = name, MessageDropout(self.graph, *name, self.message_dropout)
        return self._dropout[1]

    def filter_fn(self, out: HeteroSamplerOutput) -> Batch:
        """Joins a sampled subgraph with ratings and drops what carries no message."""
        graph, statistics = self.graph, self.current
        users = out.node[USER]
        user_degree, movie_degree = statistics.user_degree[users], statistics.movie_degree
        user_sampling_scale, movie_sampling_scale = self.neighbor_sampler.sampling_scale(users)
        to_users = self._messages(
            out.col[RATED_BY], out.edge[RATED_BY], True, users, (user_degree, movie_degree), user_sampling_scale
        )
        to_movies = self._messages(
            out.row[RATES], out.edge[RATES], False, users, (movie_degree, user_degree), movie_sampling_scale
        )
        if not self.exact_totals:
            to_users.total, to_movies.total = receiver_totals(to_users), receiver_totals(to_movies)
            graph.world.all_reduce_sum_(to_movies.total)
        if self.active_rows and graph.world.size > 1:
            to_movies.active_rows = self._active_rows(to_movies)
        return Batch(
            users=users,
            user_rows=graph.user_rows[users],
            to_users=to_users,
            to_movies=to_movies,
            mean=statistics.mean,
            user_bias=statistics.user_bias[users],
            movie_bias=statistics.movie_bias,
        )

    @property
    def one_hop(self) -> bool:
        """What movies receive counts for the targets of the step alone: no movie sends it on to users."""
        return (
            self.active_rows and isinstance(self.neighbor_sampler, BipartiteSampler) and self.neighbor_sampler.hops <= 1
        )

    def _active_rows(self, to_movies: Messages) -> Tensor:
        """Movies with messages on some rank."""
        if self.exact_totals:
            return self._needed(to_movies.lists.entry)
        return to_movies.total.nonzero().squeeze(1)

    def _needed(self, movies: Tensor) -> Tensor:
        """Movies that some rank names, in order, int64 ``[n]``."""
        named = torch.zeros(self.graph.num_movies, dtype=torch.uint8, device=self.graph.device)
        named[movies.to(torch.int64)] = 1
        return self.graph.world.all_reduce_max_(named).nonzero().squeeze(1)

    def _messages(
        self,
        user: Tensor,
        edge: Tensor,
        to_users: bool,
        users: Tensor,
        degrees: tuple[Tensor, Tensor],
        sampling_scale: Tensor,
    ) -> Messages:
        """Sampled messages in one direction, divided by whole degrees.

        Args:
            user: Rows in the batch, ``[sampled]``.
            edge: Positions by user, ``[sampled]``.
            to_users: Users receive.
            users: Users of the batch.
            degrees: Message degrees of receivers and of senders.
            sampling_scale: Edges over edges drawn, ``[receivers]``.
        """
        graph = self.graph
        lists, level = sampled_lists(self.current, user, edge, users.numel(), graph.num_movies)
        return Messages(lists, level, graph.num_levels, to_users, *degrees, sampling_scale, degrees[0])


def _with_targets_among_messages(honest: MessageStatistics, leaking: MessageStatistics) -> MessageStatistics:
    """Messages from all edges, and the targets of one fold."""
    targets = {name: getattr(honest.edges, name) for name in vars(honest.edges) if name.startswith("target_")}
    return dataclasses.replace(leaking, edges=dataclasses.replace(leaking.edges, **targets))
