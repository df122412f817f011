"""Message passing from one side of the bipartite graph to the other: what all layers share.

A message is ``value_j + residual_um * residual_value_j + rating_embedding[level_um]``, and a layer a weighted mean of
messages in two halves. ``partial`` sums over the edges of this rank; ``finish`` divides, adds what belongs to the
receiver and the bias. Between them stands ``reduce``, a sum over ranks for movies, whose raters are spread over ranks,
and the identity for users, whose edges are all here.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import Reduce, World
from gnnrec.graph.batch import Messages
from gnnrec.kernels.sums import gather_sums, scatter_sums


@dataclasses.dataclass(frozen=True)
class MessageInputs:
    """What senders send.

    Attributes:
        value: Float ``[senders, channels]``.
        residual_value: What is sent times the residual of the rating, float ``[senders, channels]``; None where
            ratings take no part.
    """

    value: Tensor
    residual_value: Tensor | None = None

    def rows(self, chosen: Tensor | slice) -> MessageInputs:
        """Those of some senders: int64 ``[n]``, or a slice."""
        return MessageInputs(self.value[chosen], None if self.residual_value is None else self.residual_value[chosen])

    def clone(self) -> MessageInputs:
        """A copy with memory of its own."""
        return MessageInputs(self.value.clone(), None if self.residual_value is None else self.residual_value.clone())


@dataclasses.dataclass(frozen=True)
class PartialSums:
    """The sums of one rank.

    Attributes:
        numerator: Float ``[receivers, channels]``.
        denominator: Float ``[receivers, heads]``, or None where it is known without the model.
    """

    numerator: Tensor
    denominator: Tensor | None = None

    def rows(self, chosen: Tensor) -> PartialSums:
        """Those of some receivers, int64 ``[n]``."""
        return PartialSums(self.numerator[chosen], None if self.denominator is None else self.denominator[chosen])

    def __add__(self, other: PartialSums) -> PartialSums:
        denominator = None if self.denominator is None else self.denominator + other.denominator
        return PartialSums(self.numerator + other.numerator, denominator)

    def __sub__(self, other: PartialSums) -> PartialSums:
        denominator = None if self.denominator is None else self.denominator - other.denominator
        return PartialSums(self.numerator - other.numerator, denominator)

    def reduced(self, reduce: Reduce, active_rows: Tensor | None = None) -> PartialSums:
        """Summed over ranks, in one collective.

        Args:
            reduce: The sum over ranks.
            active_rows: Rows that are not zero on some rank, int64 ``[active_rows]``, the same on every rank; None
                for all.
        """
        if self.denominator is None:
            return PartialSums(_reduce_rows(self.numerator, reduce, active_rows))
        sizes = [self.numerator.shape[1], self.denominator.shape[1]]
        both = torch.cat([self.numerator, self.denominator], 1)
        return PartialSums(*_reduce_rows(both, reduce, active_rows).split(sizes, 1))


@dataclasses.dataclass(frozen=True)
class StaleLayer:
    """One layer in one direction at older parameters (:mod:`gnnrec.models.control_variate`).

    Attributes:
        conv: The layer.
        sources: Of the senders, transformed.
        receiver: Own states of the receivers.
        whole: Sums over whole neighbourhoods, over all ranks.
        shift: What was subtracted from logits, float ``[receivers, heads]``; None where there are no logits.
    """

    conv: BipartiteConv
    sources: MessageInputs
    receiver: Tensor
    whole: PartialSums
    shift: Tensor | None

    @torch.no_grad()
    def sampled(self, messages: Messages) -> PartialSums:
        """This rank's sums over sampled messages."""
        return self.conv.partial(self.sources, self.receiver, messages, None, self.shift)

    def plus(self, change: PartialSums) -> PartialSums:
        """Sums over whole neighbourhoods with a sampled change. A noisy denominator stays above half of what it was."""
        total = self.whole + change
        if total.denominator is None:
            return total
        return PartialSums(total.numerator, torch.maximum(total.denominator, 0.5 * self.whole.denominator))


@dataclasses.dataclass(frozen=True)
class StaleSums:
    """One layer in both directions, when its sums were taken.

    Attributes:
        to_users: What this rank's users received.
        to_movies: What movies received, over all ranks.
    """

    to_users: StaleLayer
    to_movies: StaleLayer

    def of(self, users: Tensor | None) -> StaleSums:
        """The part that concerns the users of a batch (local rows, int64 ``[users]``); None for all."""
        if users is None:
            return self
        to_users, to_movies = self.to_users, self.to_movies
        return StaleSums(
            dataclasses.replace(
                to_users,
                receiver=to_users.receiver[users],
                whole=to_users.whole.rows(users),
                shift=None if to_users.shift is None else to_users.shift[users],
            ),
            dataclasses.replace(to_movies, sources=to_movies.sources.rows(users)),
        )


class BipartiteConv(nn.Module):
    """Base of the layers (:mod:`gnnrec.models.layers`).

    Args:
        in_channels: Channels of the senders, or None when sources are tables that are sent as they are.
        out_channels: Channels of the output.
        num_levels: Rating levels; 0 leaves ratings out, and the layer is then the textbook one.
        scale: Factor before values and residual values. It is not learned: coupled L2 would have it grow and the tables
            shrink, which takes the effect of L2 away.
        bias: Add a learned bias.

    Attributes:
        heads: Logits of an edge, and columns of denominators; 0 where weights do not depend on what is learned.
        receives_message_inputs: What the first layer sees of receivers are their source tables, not their id rows.
    """

    heads: int = 0
    receives_message_inputs: bool = False

    def __init__(
        self, in_channels: int | None, out_channels: int, num_levels: int = 0, scale: float = 1.0, bias: bool = True
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.num_levels = in_channels, out_channels, num_levels
        self.scale = scale
        self.lin_value = nn.Identity() if in_channels is None else nn.Linear(in_channels, out_channels, bias=False)
        if num_levels:
            self.lin_residual = (
                nn.Identity() if in_channels is None else nn.Linear(in_channels, out_channels, bias=False)
            )
            self.rating = nn.Parameter(torch.zeros(num_levels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(
        self,
        sources: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        stale: StaleLayer | None = None,
    ) -> Tensor:
        """One layer in one direction.

        Args:
            sources: Of the senders.
            receiver: Own states of the receivers, float ``[receivers, in_channels or out_channels]``, or None.
            messages: Edges and ratings.
            world: The ranks over which receivers are summed, or None where all edges of a receiver are here.
            stale: The same layer at older parameters, where messages are sampled with a control variate.

        Returns:
            Float ``[receivers, out_channels]``, the same on every rank when ``world`` is given.
        """
        sources = self.transform(sources)
        partial = self.partial(sources, receiver, messages, world, None if stale is None else stale.shift)
        if stale is not None:
            partial = partial - stale.sampled(messages)
        if world is not None:
            partial = partial.reduced(world.reduce, messages.active_rows)
        if stale is not None:
            partial = stale.plus(partial)
        return self.finish(partial, receiver, messages)

    def transform(self, sources: MessageInputs) -> MessageInputs:
        """MessageInputs in output channels, with the scale applied."""
        value = self.lin_value(sources.value)
        if not self.num_levels:
            return MessageInputs(value)
        residual_value = self.lin_residual(sources.residual_value)
        if self.scale == 1:
            return MessageInputs(value, residual_value)
        return MessageInputs(value * self.scale, residual_value * self.scale)

    def partial(
        self,
        sources: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> PartialSums:
        """This rank's sums; ``shift`` is what to subtract from logits, where there are any and the caller has it."""
        raise NotImplementedError

    def largest_logit(self, sources: MessageInputs, receiver: Tensor | None, messages: Messages) -> Tensor | None:
        """Largest logit of each receiver over these messages, where a layer has logits."""
        return None

    def finish(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        raise NotImplementedError

    def sum_messages(self, inputs: MessageInputs, messages: Messages, sender_scale: Tensor | None = None) -> Tensor:
        """Sum of the messages of each receiver, rating embeddings included, scaled up where they were sampled.

        Args:
            inputs: Values of the senders.
            messages: Edges, residuals and rating levels.
            sender_scale: Factor of each sender's messages, float ``[senders]``; None for ones.

        Returns:
            Float ``[receivers, channels]``.
        """
        total = sum_values(inputs.value, inputs.residual_value, messages, sender_scale)
        if self.num_levels:
            levels = messages.level_counts if sender_scale is None else messages.level_sums(sender_scale)
            total = torch.addmm(total, levels, self.rating)
        return scale_sampled(total, messages)

    def scaled_with_bias(self, sums: Tensor, scale: Tensor) -> Tensor:
        """``sums[i] * scale[i] + bias``."""
        scale = scale.unsqueeze(1)
        return sums * scale if self.bias is None else torch.addcmul(self.bias, sums, scale)


def sum_values(
    value: Tensor, residual_value: Tensor | None, messages: Messages, sender_scale: Tensor | None = None
) -> Tensor:
    """``out[i] = sum over messages: sender_scale[j] * (weight * value[j] + residual * residual_value[j])``.

    Args:
        value: Float ``[senders, channels]``; differentiable.
        residual_value: The same again; None where ratings take no part.
        messages: Edges and residuals.
        sender_scale: Float ``[senders]``, or None for ones.

    Returns:
        Float ``[receivers, channels]``.
    """
    lists = messages.lists if residual_value is not None else messages.lists.changed(factor=None)
    if not messages.to_users:
        return scatter_sums(value, residual_value, lists.changed(row_scale=sender_scale))
    if sender_scale is not None:
        value = value * sender_scale.unsqueeze(1)
        residual_value = None if residual_value is None else residual_value * sender_scale.unsqueeze(1)
    return gather_sums(value, residual_value, lists)


def _reduce_rows(sums: Tensor, reduce: Reduce, active_rows: Tensor | None) -> Tensor:
    if active_rows is None:
        return reduce(sums)
    return torch.zeros_like(sums).index_copy(0, active_rows, reduce(sums.index_select(0, active_rows)))


def scale_sampled(total: Tensor, messages: Messages) -> Tensor:
    """Scales sums over sampled edges up to the whole neighbourhood."""
    return total if messages.sampling_scale is None else total * messages.sampling_scale.unsqueeze(1)
