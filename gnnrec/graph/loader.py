"""PyG's ``NeighborLoader`` over the steps of an epoch: from sampled mini-batches to the whole graph."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch_geometric.loader import NeighborLoader
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput

from gnnrec.graph.batch import Batch, fold_statistics, sampled_messages, step_targets, whole_graph
from gnnrec.graph.folds import Epoch, Step
from gnnrec.graph.hetero import empty_hetero_data
from gnnrec.graph.message_dropout import MessageDropout
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER, BipartiteSampler
from gnnrec.graph.statistics import MessageStatistics


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
        exclude: Keep the edges of the step's fold out of its messages. Only tests switch it off.
    """

    def __init__(
        self,
        graph: RankGraph,
        sampler: BaseSampler | None,
        message_dropout: float = 0.0,
        exact_totals: bool = False,
        exclude: bool = True,
    ):
        self.message_dropout, self.exact_totals = message_dropout, exact_totals
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

    def steps(self, epoch: Epoch, start: int = 0) -> Iterator[tuple[Step, Batch]]:
        """The steps of ``epoch`` from ``start`` on, with their batches."""
        for step in epoch.steps(start):
            yield step, self.batch(epoch, step)

    def batch(self, epoch: Epoch, step: Step) -> Batch:
        """The batch of one step."""
        statistics = self.statistics(epoch, step.fold)
        if self.neighbor_sampler is None:
            batch = whole_graph(self.graph, statistics)
        else:
            self.neighbor_sampler.set_step(epoch.epoch, step.index)
            seeds = self.graph.user_rows - self.graph.part.start if step.seeds is None else step.seeds
            batch = self(seeds)
        batch.targets = step_targets(self.graph, epoch, step, batch.user_rows.numel(), statistics.drift)
        return batch

    def statistics(self, epoch: Epoch, fold: int) -> MessageStatistics:
        """Those of a pass; all its steps share them."""
        name = (epoch.seed, epoch.epoch, fold)
        if self._statistics is None or self._statistics[0] != name:
            statistics = fold_statistics(self.graph, epoch, fold, self.exclude)
            if self.message_dropout:
                statistics = self._dropout_of(epoch).apply(statistics, fold)
            self._statistics = name, statistics
        return self._statistics[1]

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
        user_inflation, movie_inflation = self.neighbor_sampler.inflation(users)
        movie, user, edge = out.node[MOVIE][out.row[RATED_BY]], out.col[RATED_BY], out.edge[RATED_BY]
        to_users = sampled_messages(
            graph, statistics, user, movie, edge,
            users.numel(), (user_degree, movie_degree), user_inflation, graph.num_movies,
        )  # fmt: skip
        user, movie, edge = out.row[RATES], out.node[MOVIE][out.col[RATES]], out.edge[RATES]
        to_movies = sampled_messages(
            graph, statistics, movie, user, edge,
            graph.num_movies, (movie_degree, user_degree), movie_inflation, users.numel(),
        )  # fmt: skip
        if self.exact_totals:
            to_users.total, to_movies.total = user_degree, movie_degree
        else:
            graph.world.sum_(to_movies.total)
        return Batch(
            users=users,
            user_rows=graph.user_rows[users],
            to_users=to_users,
            to_movies=to_movies,
            mean=statistics.mean,
            user_bias=statistics.user_bias[users],
            movie_bias=statistics.movie_bias,
            drift=statistics.drift,
        )
