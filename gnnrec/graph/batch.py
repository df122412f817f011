"""Inputs of one step: messages in both directions, and targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics
from gnnrec.graph.temporal_bias import TemporalBiasTables
from gnnrec.kernels.lists import ByColumn, CSRLists
from gnnrec.kernels.sampling import pick
from gnnrec.kernels.statistics import level_sums


@dataclasses.dataclass
class Messages:
    """Edges that carry messages in one direction. Both directions store them as one list of movies per user.

    Attributes:
        lists: Movies of each user of the batch; the factor of an edge is its residual times the weight, float
            ``[edges]``, and the weight is the factor of messages.
        level: Rating level, uint8 ``[edges]``.
        num_levels: Number of rating levels.
        to_users: Movies send to users; False: users send to movies.
        degree: Message degree of receivers in the whole graph, float ``[receivers]``.
        sender_degree: Message degree of senders in the whole graph, float ``[senders]``.
        sampling_scale: Edges in the whole graph over sampled edges, float ``[receivers]``; None without sampling.
        total: Sum of weight times sampling scale over each receiver's messages on all ranks, float ``[receivers]``.
        active_rows: Receivers with a message on any rank, int64 ``[rows]``, the same on every rank: all other sums
            are zero. None if not computed.
        received: 0 for receivers that get none of the messages, else 1, float ``[receivers]``; None for ones.
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
    received: Tensor | None = None

    @property
    def num_receivers(self) -> int:
        return self.lists.rows if self.to_users else self.lists.columns

    @cached_property
    def level_counts(self) -> Tensor:
        """Sum of the weights of each receiver's messages at each rating level: float ``[receivers, levels]``."""
        return self.level_sums(None)

    @cached_property
    def _level_by_column(self) -> Tensor:
        return self.level.index_select(0, self.lists.by_column[2])

    def level_sums(self, sender_scale: Tensor | None) -> Tensor:
        """Computes :attr:`level_counts` with each message times the scale of its sender, float ``[senders]``."""
        lists, shape = self.lists, (self.num_receivers, self.num_levels)
        if self.to_users or lists.entry.device.type == "cpu":
            messages = lists.pointer, lists.entry, self.level, shape, sender_scale, self.to_users
        else:
            # The lists by column are sorted once for all sums over movies, which are those of list owners then.
            pointer, user, _ = lists.by_column
            messages = pointer, user, self._level_by_column, shape, sender_scale, True
        return lists.weight * level_sums(*messages, self.degree.dtype)

    def reversed(self) -> Messages:
        """Returns the same edges in the other direction, always the same object; only without sampling."""
        return self._reversed

    @cached_property
    def _reversed(self) -> Messages:
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
        temporal_bias: Temporal biases, float ``[targets, NUM_TEMPORAL_BIASES]``; None in models without time.
        select: Computes the targets sorted by movie where that is cheaper than a sort; None to sort.
    """

    pointer: Tensor
    movie: Tensor
    rating: Tensor
    count: int
    temporal_bias: Tensor | None = None
    select: Callable[[], ByColumn] | None = None

    def lists(self, movies: int) -> CSRLists:
        """Returns the lists of the users' movies, of this many movies."""
        return CSRLists(self.pointer, self.movie, movies, select=self.select)


@dataclasses.dataclass
class Batch:
    """Inputs of one step on one rank.

    Attributes:
        users: Local rows of the users in the batch, int64 ``[users]``, seeds first; None for all in row order.
        user_rows: Global rows of the users, int64 ``[users]``.
        to_users: Messages from movies to the users.
        to_movies: Messages from the users to all movies.
        mean: Mean rating of the message edges, scalar tensor.
        user_bias: Closed-form biases, ``[users]``.
        movie_bias: Closed-form biases, ``[movies]``.
        temporal_bias: Tables of temporal biases; None if not requested, or without time.
        targets: Supervised ratings; None in inference.
        used_movies: Movies that send, receive or are targets on any rank, int64 ``[movies]``, the same on every rank:
            the gradients of all other movie rows are zero. None if not requested.
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
    used_movies: Tensor | None = None


def whole_graph(graph: RankGraph, statistics: MessageStatistics) -> Batch:
    """Builds the batch of all users and all messages."""
    edges = statistics.edges
    to_users = Messages(
        lists=CSRLists(
            edges.pointer,
            edges.movie,
            graph.num_movies,
            edges.residual,
            statistics.weight,
            select=selection_by_movie(graph, statistics, targets=False),
        ),
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
        to_movies=to_users.reversed(),
        mean=statistics.mean,
        user_bias=statistics.user_bias,
        movie_bias=statistics.movie_bias,
        temporal_bias=statistics.temporal_bias,
    )


def selection_by_movie(graph: RankGraph, statistics: MessageStatistics, targets: bool) -> Callable[[], ByColumn] | None:
    """Returns a function that selects the messages or targets from all edges sorted by movie; None to sort them.

    Only kernels for devices read them by movie. Before their first use, all edges are sorted once, by time within a
    movie in models with time.
    """
    edges = statistics.edges
    messages = edges.movie.numel()
    if graph.device.type == "cpu" or (edges.slot is None and messages < graph.num_edges):
        return None
    if targets and messages + edges.target_movie.numel() > graph.num_edges:  # targets are among the messages
        return None
    return lambda: statistics.by_movie(graph)[int(targets)]


def sampled_lists(
    statistics: MessageStatistics, draws: list[tuple[Tensor, Tensor]], num_users: int, movies: int
) -> list[tuple[CSRLists, Tensor]]:
    """Sorts sets of sampled edges by user and drops those that carry no message in this step.

    Args:
        statistics: Statistics of the pass, with slots.
        draws: Row in the batch of the user of each sampled edge, ``[sampled]``, in any order, and its position by user,
            ``[sampled]``, which is -1 for empty slots of a device: for each of two sets.
        num_users: Users in the batch.
        movies: Number of movies.

    Returns:
        The lists, and the rating level of each entry, for each set.
    """
    edges = statistics.edges
    sets = pick(draws, edges.slot, num_users, movies, edges.movie, edges.residual, edges.level)
    return [
        (CSRLists(picked.pointer, picked.movie, movies, picked.residual, statistics.weight, None, picked.select),
         picked.level)
        for picked in sets
    ]  # fmt: skip


def receiver_totals(messages: Messages) -> Tensor:
    """Sums weight times sampling scale over each receiver's messages on this rank, float ``[receivers]``."""
    lists = messages.lists
    if messages.to_users:
        counts = lists.pointer.diff()
    elif lists.entry.device.type != "cpu":
        counts = lists.by_column[0].diff()  # without a wait of the host; the sums need it too
    else:
        counts = torch.bincount(lists.entry, minlength=lists.columns)
    return counts * lists.weight * messages.sampling_scale
