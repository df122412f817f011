"""What one step computes on: message edges in both directions, and targets."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.graph.folds import Step
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.ragged import offsets, ranges
from gnnrec.kernels.sampling import pick
from gnnrec.kernels.statistics import level_sums


@dataclasses.dataclass
class Messages:
    """Edges that carry messages in one direction, in lists of users whichever side receives.

    Attributes:
        lists: Users of the batch and the movies at the other end; factors are residuals times weight, float
            ``[edges]``, and the weight is what the message itself is multiplied by.
        level: Rating level, uint8 ``[edges]``.
        num_levels: Number of rating levels.
        to_users: Users receive and movies send, or the other way round.
        degree: Message degree of receivers in the whole graph, float ``[receivers]``.
        sender_degree: Message degree of senders in the whole graph, float ``[senders]``.
        sampling_scale: Edges in the whole graph over edges drawn, float ``[receivers]``, or None where all are there.
        total: Sum of inflated weights of each receiver over all ranks, float ``[receivers]``.
        active_rows: Receivers with a message on some rank, int64 ``[active_rows]``, the same on every rank: all
            other sums are zero. None where nobody asked.
    """

    lists: CSRLists
    level: Tensor
    num_levels: int
    to_users: bool
    degree: Tensor
    sender_degree: Tensor
    sampling_scale: Tensor | None
    total: Tensor
    active_rows: Tensor | None = None

    @property
    def num_receivers(self) -> int:
        return self.lists.rows if self.to_users else self.lists.columns

    @cached_property
    def level_counts(self) -> Tensor:
        """Weights of each receiver's messages at each rating level: float ``[receivers, levels]``."""
        return self.level_sums(None)

    def level_sums(self, sender_scale: Tensor | None) -> Tensor:
        """The same, each message times the scale of its sender, float ``[senders]``."""
        lists, shape = self.lists, (self.num_receivers, self.num_levels)
        return lists.weight * level_sums(
            lists.pointer, lists.entry, self.level, shape, sender_scale, self.to_users, self.degree.dtype
        )

    def turned(self) -> Messages:
        """The same edges in the other direction. Nothing may have been sampled."""
        return dataclasses.replace(
            self,
            to_users=not self.to_users,
            degree=self.sender_degree,
            sender_degree=self.degree,
            total=self.sender_degree,
        )


@dataclasses.dataclass
class Targets:
    """Supervised ratings of this rank in a step, sorted by user.

    Attributes:
        pointer: int64 ``[users of the batch + 1]``.
        movie: int32 ``[targets]``.
        rating: float ``[targets]``.
        count: Targets of all ranks, at least 1.
        temporal_bias: Effects of time on the targets, float ``[targets, effects]``; None where time plays no part.
    """

    pointer: Tensor
    movie: Tensor
    rating: Tensor
    count: int
    temporal_bias: Tensor | None = None


@dataclasses.dataclass
class Batch:
    """One step's inputs on one rank.

    Attributes:
        users: Local rows of the users in the batch, int64 ``[users]``, seeds first; None for all in row order.
        user_rows: Their global rows, int64 ``[users]``.
        to_users: Messages from movies to the users.
        to_movies: Messages from the users to all movies.
        mean: Mean rating of the message edges, scalar tensor.
        user_bias: Closed-form biases, ``[users]``.
        movie_bias: Closed-form biases, ``[movies]``.
        temporal_bias: Effects of time on other ratings; None where nobody asked or time plays no part.
        targets: What is supervised; None in inference.
    """

    users: Tensor | None
    user_rows: Tensor
    to_users: Messages
    to_movies: Messages
    mean: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    temporal_bias: TemporalBiasTables | None = None
    targets: Targets | None = None


def whole_graph(graph: RankGraph, statistics: MessageStatistics) -> Batch:
    """All users and all their messages."""
    edges = statistics.edges
    to_users = Messages(
        lists=CSRLists(edges.pointer, edges.movie, graph.num_movies, edges.residual, statistics.weight),
        level=edges.level,
        num_levels=graph.num_levels,
        to_users=True,
        degree=statistics.user_degree,
        sender_degree=statistics.movie_degree,
        sampling_scale=None,
        total=statistics.user_degree,
    )
    return Batch(
        users=None,
        user_rows=graph.user_rows,
        to_users=to_users,
        to_movies=to_users.turned(),
        mean=statistics.mean,
        user_bias=statistics.user_bias,
        movie_bias=statistics.movie_bias,
        temporal_bias=statistics.temporal_bias,
    )


def sampled_lists(statistics: MessageStatistics, user: Tensor, edge: Tensor, num_users: int, movies: int) -> tuple:
    """Sorts sampled edges by user and drops those that carry no message in this step.

    Args:
        statistics: Those of the pass, with slots.
        user: Users in the batch, ``[sampled]``, in any order.
        edge: Positions by user, ``[sampled]``.
        num_users: Users in the batch.
        movies: Movies.

    Returns:
        The lists, and the rating levels of their entries.
    """
    edges = statistics.edges
    pointer, movie, residual, level = pick(user, edge, edges.slot, num_users, edges.movie, edges.residual, edges.level)
    return CSRLists(pointer, movie, movies, residual, statistics.weight), level


def step_targets(statistics: MessageStatistics, step: Step, num_users: int) -> Targets:
    """The targets of a step; users of the batch that are not seeds have none."""
    edges, count = statistics.edges, max(step.num_targets, 1)
    if step.seeds is None:
        return Targets(edges.target_pointer, edges.target_movie, edges.target_rating, count, edges.target_effect)
    counts = edges.target_pointer.diff()[step.seeds]
    chosen = ranges(edges.target_pointer[step.seeds], counts)
    pointer = offsets(torch.cat([counts, counts.new_zeros(num_users - counts.numel())]))
    effect = None if edges.target_effect is None else edges.target_effect[chosen]
    return Targets(pointer, edges.target_movie[chosen], edges.target_rating[chosen], count, effect)


def receiver_totals(messages: Messages) -> Tensor:
    """Sum of inflated weights of each receiver on this rank, float ``[receivers]``."""
    lists = messages.lists
    if messages.to_users:
        counts = lists.pointer.diff()
    else:
        counts = torch.bincount(lists.entry, minlength=lists.columns)
    return counts * lists.weight * messages.sampling_scale
