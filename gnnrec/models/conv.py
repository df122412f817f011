"""Message passing from one side of the bipartite graph to the other: what GCN, GraphSAGE and GAT share.

A message is ``value_j + residual_um * residual_value_j + rating_embedding[level_um]``, and a layer a weighted mean of
messages in two halves. ``partial`` sums over the edges of this rank; ``finish`` divides, adds what belongs to the
receiver and the bias. Between them stands ``reduce``, a sum over ranks for movies, whose raters are spread over ranks,
and the identity for users, whose edges are all here.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.distributed import Reduce, World
from gnnrec.graph.batch import Messages
from gnnrec.models.ragged_sum import ragged_sum


@dataclasses.dataclass(frozen=True)
class Sources:
    """What senders send.

    Attributes:
        value: Float ``[senders, channels]``.
        residual_value: What is sent times the residual of the rating, float ``[senders, channels]``; None where
            ratings take no part.
    """

    value: Tensor
    residual_value: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Partial:
    """The sums of one rank.

    Attributes:
        numerator: Float ``[receivers, channels]``.
        denominator: Float ``[receivers, heads]``, or None where it is known without the model.
    """

    numerator: Tensor
    denominator: Tensor | None = None

    def reduced(self, reduce: Reduce) -> Partial:
        """Summed over ranks, in one collective."""
        if self.denominator is None:
            return Partial(reduce(self.numerator))
        sizes = [self.numerator.shape[1], self.denominator.shape[1]]
        return Partial(*reduce(torch.cat([self.numerator, self.denominator], 1)).split(sizes, 1))


class BipartiteConv(nn.Module):
    """Base of the three layers.

    Args:
        in_channels: Channels of the senders, or None when sources are tables that are sent as they are.
        out_channels: Channels of the output.
        num_levels: Rating levels; 0 leaves ratings out, and the layer is then the textbook one.
        gain: Factor before values and residual values. It is not learned: coupled L2 would have it grow and the tables
            shrink, which takes the effect of L2 away.
        bias: Add a learned bias.
    """

    def __init__(
        self, in_channels: int | None, out_channels: int, num_levels: int = 0, gain: float = 1.0, bias: bool = True
    ):
        super().__init__()
        self.in_channels, self.out_channels, self.num_levels = in_channels, out_channels, num_levels
        self.gain = gain
        self.lin_value = nn.Identity() if in_channels is None else nn.Linear(in_channels, out_channels, bias=False)
        if num_levels:
            self.lin_residual = (
                nn.Identity() if in_channels is None else nn.Linear(in_channels, out_channels, bias=False)
            )
            self.rating = nn.Parameter(torch.zeros(num_levels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, sources: Sources, receiver: Tensor | None, messages: Messages, world: World | None) -> Tensor:
        """One layer in one direction.

        Args:
            sources: Of the senders.
            receiver: Own states of the receivers, float ``[receivers, in_channels or out_channels]``, or None.
            messages: Edges and ratings.
            world: The ranks over which receivers are summed, or None where all edges of a receiver are here.

        Returns:
            Float ``[receivers, out_channels]``, the same on every rank when ``world`` is given.
        """
        sources = self.transform(sources)
        partial = self.partial(sources, receiver, messages, world)
        if world is not None:
            partial = partial.reduced(world.reduce)
        return self.finish(partial, receiver, messages)

    def transform(self, sources: Sources) -> Sources:
        """Sources in output channels, with the gain applied."""
        value = self.lin_value(sources.value)
        if not self.num_levels:
            return Sources(value)
        return Sources(value * self.gain, self.lin_residual(sources.residual_value) * self.gain)

    def partial(self, sources: Sources, receiver: Tensor | None, messages: Messages, world: World | None) -> Partial:
        raise NotImplementedError

    def finish(self, partial: Partial, receiver: Tensor | None, messages: Messages) -> Tensor:
        raise NotImplementedError

    def sum_messages(self, sources: Sources, messages: Messages, level_counts: Tensor | None) -> Tensor:
        """Sum of messages with the weights that stand in ``messages``, inflated where they were sampled."""
        total = ragged_sum(sources.value, messages, messages.weight, messages.weight_by_sender)
        if self.num_levels:
            total = total + ragged_sum(sources.residual_value, messages, messages.residual, messages.residual_by_sender)
            total = total + level_counts @ self.rating
        return inflate(total, messages)

    def add_bias(self, out: Tensor) -> Tensor:
        return out if self.bias is None else out + self.bias


def inflate(total: Tensor, messages: Messages) -> Tensor:
    """Scales sums over sampled edges up to the whole neighbourhood."""
    return total if messages.inflation is None else total * messages.inflation.unsqueeze(1)
