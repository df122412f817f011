"""What one step computes on: message edges in both directions, and targets."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.graph.drift import Drift
from gnnrec.graph.folds import Epoch, Step
from gnnrec.kernels.ragged import counting_sort, owners, segment_sum
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics, message_statistics


@dataclasses.dataclass
class Messages:
    """Edges that carry messages in one direction, sorted by receiver, and the same edges sorted by sender.

    The second order is what the backward pass sums over, so nothing is sorted or scattered there. An excluded edge
    may stay in the lists with weight 0.

    Attributes:
        pointer: int64 ``[receivers + 1]``.
        sender: int32 ``[edges]``, sorted by receiver.
        sender_pointer: int64 ``[senders + 1]``.
        receiver: int32 ``[edges]``, sorted by sender.
        order: ``[edges]``: position (by receiver) of each edge by sender.
        weight: 1, or 0 where an edge carries no message; more than 1 where others were left out at random. Float
            ``[edges]`` by receiver.
        weight_by_sender: The same by sender.
        residual: Rating minus closed-form biases, times weight, float ``[edges]`` by receiver.
        residual_by_sender: The same by sender.
        level: Rating level, uint8 ``[edges]`` by receiver.
        num_levels: Number of rating levels.
        degree: Message degree of receivers in the whole graph, float ``[receivers]``.
        sender_degree: Message degree of senders in the whole graph, float ``[senders]``.
        inflation: Edges in the whole graph over edges drawn, float ``[receivers]``, or None where all are there.
        total: Sum of inflated weights of each receiver over all ranks, float ``[receivers]``.
    """

    pointer: Tensor
    sender: Tensor
    sender_pointer: Tensor
    receiver: Tensor
    order: Tensor
    weight: Tensor
    weight_by_sender: Tensor
    residual: Tensor
    residual_by_sender: Tensor
    level: Tensor
    num_levels: int
    degree: Tensor
    sender_degree: Tensor
    inflation: Tensor | None
    total: Tensor

    @property
    def num_receivers(self) -> int:
        return self.pointer.numel() - 1

    @property
    def num_senders(self) -> int:
        return self.sender_pointer.numel() - 1

    @cached_property
    def owner(self) -> Tensor:
        """Receiver of each edge by receiver, int32 ``[edges]``."""
        return owners(self.pointer)

    @cached_property
    def level_slot(self) -> Tensor:
        """``receiver * num_levels + level`` of each edge by receiver, int64 ``[edges]``."""
        return self.owner.to(torch.int64) * self.num_levels + self.level

    @cached_property
    def level_counts(self) -> Tensor:
        """Weight of each receiver's edges at each rating level, float ``[receivers, num_levels]``."""
        return self.level_histogram(self.weight)

    def transposed(self, order: Tensor, level: Tensor) -> Messages:
        """The same edges in the other direction: senders receive. Nothing may have been sampled.

        Args:
            order: Position by sender of each edge by receiver, ``[edges]``.
            level: Rating level by sender, uint8 ``[edges]``.
        """
        return Messages(
            pointer=self.sender_pointer,
            sender=self.receiver,
            sender_pointer=self.pointer,
            receiver=self.sender,
            order=order,
            weight=self.weight_by_sender,
            weight_by_sender=self.weight,
            residual=self.residual_by_sender,
            residual_by_sender=self.residual,
            level=level,
            num_levels=self.num_levels,
            degree=self.sender_degree,
            sender_degree=self.degree,
            inflation=None,
            total=self.sender_degree,
        )

    def level_histogram(self, weight: Tensor) -> Tensor:
        """Sums ``weight`` (float ``[edges]``, differentiable) by receiver and level: ``[receivers, num_levels]``."""
        flat = weight.new_zeros(self.num_receivers * self.num_levels)
        return flat.index_add(0, self.level_slot, weight).view(self.num_receivers, self.num_levels)


@dataclasses.dataclass
class Targets:
    """Supervised ratings of this rank in a step, sorted by user.

    Attributes:
        pointer: int64 ``[users of the batch + 1]``.
        movie: int32 ``[targets]``.
        rating: float ``[targets]``.
        count: Targets of all ranks, at least 1.
        drift: Effects of time on the targets, float ``[targets, windows]``; None where time plays no part.
    """

    pointer: Tensor
    movie: Tensor
    rating: Tensor
    count: int
    drift: Tensor | None = None


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
        drift: Effects of time; None where time plays no part.
        targets: What is supervised; None in inference.
    """

    users: Tensor | None
    user_rows: Tensor
    to_users: Messages
    to_movies: Messages
    mean: Tensor
    user_bias: Tensor
    movie_bias: Tensor
    drift: Drift | None = None
    targets: Targets | None = None


def whole_graph(graph: RankGraph, statistics: MessageStatistics) -> Batch:
    """All users and all their message edges; shares the graph's arrays."""
    to_users = Messages(
        pointer=graph.user_ptr,
        sender=graph.movie,
        sender_pointer=graph.movie_ptr,
        receiver=graph.user,
        order=graph.order,
        weight=statistics.weight,
        weight_by_sender=statistics.weight_by_movie,
        residual=statistics.residual,
        residual_by_sender=statistics.residual[graph.order],
        level=graph.level,
        num_levels=graph.num_levels,
        degree=statistics.user_degree,
        sender_degree=statistics.movie_degree,
        inflation=None,
        total=statistics.user_degree,
    )
    to_movies = to_users.transposed(graph.inverse_order, graph.level_by_movie)
    return Batch(
        users=None,
        user_rows=graph.user_rows,
        to_users=to_users,
        to_movies=to_movies,
        mean=statistics.mean,
        user_bias=statistics.user_bias,
        movie_bias=statistics.movie_bias,
        drift=statistics.drift,
    )


def sampled_messages(
    graph: RankGraph,
    statistics: MessageStatistics,
    receiver: Tensor,
    sender: Tensor,
    edge: Tensor,
    num_receivers: int,
    degrees: tuple[Tensor, Tensor],
    inflation: Tensor,
    num_senders: int,
) -> Messages:
    """Sorts sampled edges both ways and drops those that carry no message in this step.

    Args:
        graph: The rank's graph.
        statistics: Those of the step.
        receiver: Receivers in the batch, ``[sampled]``, in any order.
        sender: Senders in the batch, ``[sampled]``.
        edge: Positions by user, ``[sampled]``.
        num_receivers: Receivers in the batch.
        degrees: Message degrees of receivers and of senders in the whole graph.
        inflation: Edges in the whole graph over edges drawn, float ``[receivers]``.
        num_senders: Senders in the batch.
    """
    kept = statistics.weight[edge] > 0
    receiver, sender, edge = receiver[kept], sender[kept], edge[kept]
    pointer, order = counting_sort(receiver, num_receivers)
    sender, edge = sender[order].to(torch.int32), edge[order]
    weight, residual = statistics.weight[edge], statistics.residual[edge]
    sender_pointer, order = counting_sort(sender, num_senders)
    return Messages(
        pointer=pointer,
        sender=sender,
        sender_pointer=sender_pointer,
        receiver=owners(pointer)[order],
        order=order,
        weight=weight,
        weight_by_sender=weight[order],
        residual=residual,
        residual_by_sender=residual[order],
        level=graph.level[edge],
        num_levels=graph.num_levels,
        degree=degrees[0],
        sender_degree=degrees[1],
        inflation=inflation,
        total=segment_sum(weight, pointer) * inflation,
    )


def step_targets(graph: RankGraph, epoch: Epoch, step: Step, num_users: int, drift: Drift | None) -> Targets:
    """The targets of a step; users of the batch that are not seeds have none."""
    counts, edge = epoch.targets(step.fold, step.seeds)
    pointer = counts.new_zeros(num_users + 1)
    torch.cumsum(counts, 0, out=pointer[1 : counts.numel() + 1])
    pointer[counts.numel() + 1 :] = edge.numel()
    effect = None if drift is None else drift.effect[edge]
    return Targets(pointer, graph.movie[edge], graph.rating[edge], max(step.num_targets, 1), effect)


def fold_statistics(graph: RankGraph, epoch: Epoch, fold: int, exclude: bool = True) -> MessageStatistics:
    """Statistics of the edges that pass messages while ``fold`` is supervised.

    Args:
        graph: The rank's graph.
        epoch: Folds.
        fold: The supervised fold.
        exclude: False lets targets into their own message graph: only for the test that shows what this would do.
    """
    if not exclude:
        return message_statistics(graph)
    return message_statistics(graph, (epoch.fold == fold, epoch.fold_by_movie == fold))
