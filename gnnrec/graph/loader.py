"""Loader based on PyG's ``NeighborLoader``: batches from sampled mini-batches to the whole graph."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.profiler import record_function

from gnnrec.graph.batch import Batch, Messages, Targets, receiver_totals, sampled_lists, whole_graph
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.hetero import empty_hetero_data
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.pyg import BaseSampler, HeteroSamplerOutput, NeighborLoader, NodeSamplerInput
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import RATED_BY, RATES, USER, BipartiteSampler
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.graph.step_targets import PassTargets, step_targets


class SeedUsers(NodeSamplerInput):
    """Seed users of a sampler, on the device of the graph: PyG's own class moves its tensors to the CPU.

    Args:
        rows: Local rows, int64 ``[seeds]``.
    """

    def __init__(self, rows: Tensor):
        self.input_id, self.node, self.time, self.input_type = rows, rows, None, USER

    def __getitem__(self, index: Tensor | list[int]) -> SeedUsers:
        return SeedUsers(self.node[self._rows(index)])

    def _rows(self, index: Tensor | list[int]) -> Tensor:
        return torch.as_tensor(index, dtype=torch.int64, device=self.node.device)


class EveryUser(SeedUsers):
    """All users of a rank: an index selects itself."""

    def __getitem__(self, index: Tensor | list[int]) -> SeedUsers:
        return SeedUsers(self._rows(index))


class RatingLoader(NeighborLoader):
    """Makes the batches of steps.

    Seeds are users, not single edges: one encoding serves all targets of a user. PyG's loader joins a sampled subgraph
    with features; this one joins it with ratings, drops the edges of the step's fold and adds targets.

    Args:
        graph: The rank's graph.
        sampler: :class:`gnnrec.graph.sampler.BipartiteSampler` or :class:`gnnrec.graph.pyg_sampler.PyGSampler`; None
            for whole neighborhoods of all users, without sampling and copying.
        message_dropout: Share of messages dropped in each pass over the users.
        exact_totals: Divide sums by whole degrees, because a control variate makes them sums over whole neighborhoods.
        active_rows: Compute which movies a step uses on any rank; with one layer, draw raters for the movies of the
            step's targets only. Not for whole neighborhoods.
        exclude: Keep the edges of the step's fold out of its messages. Only tests switch this off.
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
        self._targets: tuple[MessageStatistics, PassTargets] | None = None
        super().__init__(
            empty_hetero_data(graph),
            num_neighbors=[-1],
            input_nodes=USER,
            # NeighborLoader requires a sampler, even if whole neighborhoods never call it.
            neighbor_sampler=sampler or BipartiteSampler(graph, 0, -1, -1, 1),
        )
        self.input_data = EveryUser(graph.local_rows)

    def batch(self, epoch: Epoch, step: Step) -> Batch:
        """Makes the batch of one step."""
        with record_function("statistics"):
            statistics = self.statistics(epoch, step.fold)
        if self.neighbor_sampler is None:
            batch = whole_graph(self.graph, statistics)
        else:
            movies = None
            if self.one_hop:
                users = self.graph.num_users
                movies = self._needed(self._step_targets(statistics, epoch, step, users, whole=True).movie)
            self.neighbor_sampler.set_step(epoch.epoch, step.index, *[] if movies is None else [movies])
            seeds = self.graph.local_rows if step.seeds is None else step.seeds
            with record_function("sampling"):
                batch = self(seeds)
            if step.seeds is None:  # seeds come first, so these are all users in row order
                batch.users = None
        users = batch.user_rows.numel()
        batch.targets = self._step_targets(statistics, epoch, step, users, whole=batch.users is None)
        if self.active_rows and self.graph.world.size > 1:
            batch.used_movies = self._needed(
                batch.to_users.lists.entry, batch.to_movies.lists.entry, batch.targets.movie
            )
        return batch

    def statistics(self, epoch: Epoch, fold: int) -> MessageStatistics:
        """Returns the statistics of a pass, which all its steps share."""
        key = (epoch.seed, epoch.epoch, fold)
        if self._statistics is None or self._statistics[0] != key:
            dropout = self._epoch_dropout(epoch) if self.message_dropout else None
            # On devices, messages are sorted by movie with their slots.
            slots = self.neighbor_sampler is not None or self.graph.device.type != "cpu"
            # Frees the memory of the previous pass first.
            self.release()
            statistics = message_statistics(self.graph, epoch, fold, dropout, slots)
            if not self.exclude:
                leaking = message_statistics(self.graph, epoch, -1, dropout, slots)
                statistics = _with_targets_among_messages(statistics, leaking)
            self._statistics = key, statistics
        return self._statistics[1]

    def _step_targets(
        self, statistics: MessageStatistics, epoch: Epoch, step: Step, users: int, whole: bool
    ) -> Targets:
        """Returns the targets of a step; ``whole`` batches have all users in row order."""
        if step.seeds is None or not getattr(self.neighbor_sampler, "slots", False):
            return step_targets(self.graph, statistics, step, users)
        if self._targets is None or self._targets[0] is not statistics:
            self._targets = statistics, PassTargets(statistics, epoch, step.fold, self.graph.num_movies)
        return self._targets[1].of_step(step, users, whole)

    def release(self) -> None:
        """Frees the memory of the latest pass."""
        self._statistics = self._targets = None

    @property
    def current(self) -> MessageStatistics:
        """Statistics of the pass of the latest batch."""
        return self._statistics[1]

    def _epoch_dropout(self, epoch: Epoch) -> MessageDropout:
        key = (epoch.seed, epoch.epoch)
        if self._dropout is None or self._dropout[0] != key:
            self._dropout = key, MessageDropout(self.graph, *key, self.message_dropout)
        return self._dropout[1]

    def filter_fn(self, out: HeteroSamplerOutput) -> Batch:
        """Joins a sampled subgraph with ratings and drops edges without a message."""
        graph, statistics = self.graph, self.current
        users = None if out.node[USER] is graph.local_rows else out.node[USER]
        user_rows, user_degree, user_bias = (
            table if users is None else table[users]
            for table in (graph.user_rows, statistics.user_degree, statistics.user_bias)
        )
        movie_degree = statistics.movie_degree
        user_sampling_scale, movie_sampling_scale = self.neighbor_sampler.sampling_scale(out.node[USER])
        draws = [(out.col[RATED_BY], out.edge[RATED_BY]), (out.row[RATES], out.edge[RATES])]
        lists = sampled_lists(statistics, draws, user_rows.numel(), graph.num_movies)
        # Whole degrees are totals.
        to_users = Messages(
            *lists[0], graph.num_levels, True, user_degree, movie_degree, user_sampling_scale, user_degree
        )
        to_movies = Messages(
            *lists[1], graph.num_levels, False, movie_degree, user_degree, movie_sampling_scale, movie_degree
        )
        if not self.exact_totals:
            to_users.total, to_movies.total = receiver_totals(to_users), receiver_totals(to_movies)
            graph.world.all_reduce_sum_(to_movies.total)
        if self.active_rows and graph.world.size > 1:
            to_movies.active_rows = self._active_rows(to_movies)
        return Batch(
            users=users,
            user_rows=user_rows,
            to_users=to_users,
            to_movies=to_movies,
            mean=statistics.mean,
            user_bias=user_bias,
            movie_bias=statistics.movie_bias,
        )

    @property
    def one_hop(self) -> bool:
        """Whether sums for movies are used only by the step's targets: with one layer, movies do not pass them on."""
        return (
            self.active_rows and isinstance(self.neighbor_sampler, BipartiteSampler) and self.neighbor_sampler.hops <= 1
        )

    def _active_rows(self, to_movies: Messages) -> Tensor:
        """Returns the movies with messages on any rank."""
        if self.exact_totals:
            return self._needed(to_movies.lists.entry)
        return to_movies.total.nonzero().squeeze(1)

    def _needed(self, *movies: Tensor) -> Tensor:
        """Returns the union of ``movies`` over ranks, ascending, int64 ``[n]``."""
        # The last row is that of places without a message.
        mask = torch.zeros(self.graph.num_movies + 1, dtype=torch.uint8, device=self.graph.device)
        for rows in movies:
            mask[rows.to(torch.int64)] = 1
        return self.graph.world.all_reduce_max_(mask[:-1]).nonzero().squeeze(1)


def _with_targets_among_messages(honest: MessageStatistics, leaking: MessageStatistics) -> MessageStatistics:
    """Combines messages over all edges with the targets of one fold."""
    targets = {name: getattr(honest.edges, name) for name in vars(honest.edges) if name.startswith("target_")}
    edges = dataclasses.replace(leaking.edges, **targets)
    return dataclasses.replace(leaking, edges=edges, target_temporal_bias=honest.target_temporal_bias)
