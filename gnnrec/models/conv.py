"""One layer of message passing in one direction. Read this file first, then one of :mod:`gnnrec.models.layers`.

Ratings are the edges of a bipartite graph. A layer sends messages along them, from movies to users or from users to
movies. The message of sender ``j`` to receiver ``i`` is::

    value_j + residual_ij * residual_value_j + rating_embedding[level_ij]

with the residual (rating minus biases) and the rating level of the edge. A layer is a weighted sum or mean of messages,
which :meth:`BipartiteConv.forward` computes in four steps:

1. ``transform``: linear layers and a fixed scale turn the :class:`MessageInputs` of the senders into values.
2. ``partial``: each rank sums over its own edges (:class:`PartialSums`). Every layer implements this.
3. ``reduced``: one all-reduce adds the sums for movies, whose raters are on all ranks. A user's edges are on one rank.
4. ``finish``: divides, and adds the receiver's own state and the bias. Every layer implements this.

With sampled neighbors and a control variate (:mod:`gnnrec.models.control_variate`), ``forward`` subtracts the same
sampled sums at older parameters before step 3 and adds the exact sums at these parameters after it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import Reduce, World
from gnnrec.graph.batch import Messages
from gnnrec.kernels.attention_output import kept_denominator
from gnnrec.models.message_sums import scale_sampled, sum_values
from gnnrec.models.precision import full_precision


@dataclasses.dataclass(frozen=True)
class MessageInputs:
    """Senders' side of the messages.

    Attributes:
        value: Float ``[senders, channels]``.
        residual_value: Multiplied by the residual of the rating, float ``[senders, channels]``; None in layers without
            ratings.
        rating: Rating embeddings, float ``[levels, channels]``; None for those of the layer.
    """

    value: Tensor
    residual_value: Tensor | None = None
    rating: Tensor | None = None

    def rows(self, index: Tensor | slice) -> MessageInputs:
        """Selects senders by int64 ``[n]`` or a slice."""
        return MessageInputs(self.value[index], None if self.residual_value is None else self.residual_value[index])

    def clone(self) -> MessageInputs:
        return MessageInputs(self.value.clone(), None if self.residual_value is None else self.residual_value.clone())

    def minus(self, old: MessageInputs, rating: Tensor | None) -> MessageInputs:
        """Returns these values minus older ones, with these rating embeddings."""
        residual = None if self.residual_value is None else self.residual_value - old.residual_value
        return MessageInputs(self.value - old.value, residual, rating)


@dataclasses.dataclass(frozen=True)
class PartialSums:
    """Sums over the edges of one rank.

    Attributes:
        numerator: Float ``[receivers, channels]``.
        denominator: Float ``[receivers, heads]``, or None where it does not depend on parameters.
    """

    numerator: Tensor
    denominator: Tensor | None = None

    def rows(self, index: Tensor) -> PartialSums:
        """Selects receivers by int64 ``[n]``."""
        return PartialSums(self.numerator[index], None if self.denominator is None else self.denominator[index])

    def __add__(self, other: PartialSums) -> PartialSums:
        denominator = None if self.denominator is None else self.denominator + other.denominator
        return PartialSums(self.numerator + other.numerator, denominator)

    def __sub__(self, other: PartialSums) -> PartialSums:
        denominator = None if self.denominator is None else self.denominator - other.denominator
        return PartialSums(self.numerator - other.numerator, denominator)

    def reduced(self, reduce: Reduce, active_rows: Tensor | None = None) -> PartialSums:
        """Sums over ranks in one collective.

        Args:
            reduce: The all-reduce.
            active_rows: Rows that are nonzero on any rank, int64 ``[rows]``, the same on every rank; None for all.
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
        inputs: Transformed inputs of the senders.
        receiver: States of the receivers.
        whole: Sums over whole neighborhoods and all ranks.
        shift: Subtracted from attention logits, float ``[receivers, heads]``; None in layers without logits.
    """

    conv: BipartiteConv
    inputs: MessageInputs
    receiver: Tensor
    whole: PartialSums
    shift: Tensor | None

    @torch.no_grad()
    def sampled_sums(self, messages: Messages) -> PartialSums:
        """Sums over the sampled messages of this rank."""
        return self.conv.partial(self.inputs, self.receiver, messages, None, self.shift)

    def corrected(self, change: PartialSums) -> PartialSums:
        """Adds a sampled change to the whole sums. A noisy denominator is kept above half of its old value."""
        if change.denominator is None:
            return self.whole + change
        numerator, whole = self.whole.numerator + change.numerator, self.whole.denominator
        if whole.device.type == "cpu":
            return PartialSums(numerator, torch.maximum(whole + change.denominator, 0.5 * whole))
        return PartialSums(numerator, kept_denominator(whole, change.denominator))


class BipartiteConv(nn.Module):
    """Base class of the layers (:mod:`gnnrec.models.layers`).

    Args:
        in_channels: Channels of the senders, or None to send message embeddings without a linear layer.
        out_channels: Channels of the output.
        num_levels: Rating levels; 0 ignores ratings, which gives the layer of the literature.
        scale: Factor of values and residual values. It is not learned: coupled L2 would make it grow and the tables
            shrink, so that L2 had no effect.
        bias: Add a learned bias.

    Attributes:
        heads: Attention logits per edge, and columns of denominators; 0 where weights do not depend on parameters.
        receiver_heads: Those of the heads whose logits depend on receivers.
        linear: ``partial`` is linear in its inputs, rating embeddings included, and reads nothing else but messages.
        marks_use: ``partial`` itself calls :meth:`~gnnrec.distributed.world.World.use` on what it computes from
            receivers, which are the same on every rank; otherwise ``forward`` calls it on the receivers.
        receives_message_inputs: The first layer's receivers are their message embeddings, not their id embeddings.
        narrow: :meth:`sum_messages` reads rows for each message in bfloat16; set after a first layer is built.
    """

    heads: int = 0
    receiver_heads: int = 0
    linear: bool = False
    marks_use: bool = False
    receives_message_inputs: bool = False
    narrow: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in {"linear", "marks_use"} - vars(cls).keys() if "partial" in vars(cls) else ():
            setattr(cls, name, False)  # that of a base class is about the partial that this class replaces

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
        inputs: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        stale: StaleLayer | None = None,
    ) -> Tensor:
        """Computes the layer.

        Args:
            inputs: Senders' side of the messages.
            receiver: States of the receivers, float ``[receivers, in_channels or out_channels]``, or None.
            messages: Edges and ratings.
            world: The ranks to sum over, or None where all edges of a receiver are on this rank.
            stale: The same layer at older parameters, for sampling with a control variate.

        Returns:
            Float ``[receivers, out_channels]``, the same on every rank when ``world`` is given.
        """
        inputs = self.transform(inputs)
        used = receiver
        if world is not None and receiver is not None and not self.marks_use:
            used = world.use(receiver, messages.active_rows)
        change = stale is not None and self.linear and inputs.value.device.type != "cpu"
        if change:  # one sum in the place of two, which CPUs compute as in earlier versions
            inputs = inputs.minus(stale.inputs, self.rating - stale.conv.rating.detach() if self.num_levels else None)
        partial = self.partial(inputs, used, messages, world, None if stale is None else stale.shift)
        if stale is not None and not change:
            partial = partial - stale.sampled_sums(messages)
        if world is not None and world.size > 1:
            partial = partial.reduced(world.reduce, messages.active_rows)
        if stale is not None:
            partial = stale.corrected(partial)
        return self.output(partial, receiver, messages)

    def output(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        """Computes the output, float ``[receivers, out_channels]``, from sums over all ranks as far as received."""
        if messages.received is not None:
            partial = dataclasses.replace(partial, numerator=partial.numerator * messages.received.unsqueeze(1))
        return self.finish(partial, receiver, messages)

    def freeze(self) -> None:
        """Prepares a copy whose parameters no longer change; layers may compute what depends on these alone."""

    def transform(self, inputs: MessageInputs) -> MessageInputs:
        """Applies the linear layers and the scale."""
        value = self.lin_value(inputs.value)
        if not self.num_levels:
            return MessageInputs(value)
        residual_value = self.lin_residual(inputs.residual_value)
        if self.scale == 1:
            return MessageInputs(value, residual_value)
        return MessageInputs(value * self.scale, residual_value * self.scale)

    def sender_weight(self, degree: Tensor) -> Tensor:
        """Fixed weight of the values of senders with these degrees, float64 ``[senders]``, for L2 of what is sent."""
        return torch.full_like(degree, self.scale, dtype=torch.float64)

    def partial(
        self,
        inputs: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> PartialSums:
        """Sums over the edges of this rank; ``shift`` is subtracted from logits, and computed if it is None."""
        raise NotImplementedError

    def largest_logit(self, inputs: MessageInputs, receiver: Tensor | None, messages: Messages) -> Tensor | None:
        """Returns the largest logit of each receiver over these messages; None in layers without logits."""
        return None

    def finish(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        """Computes the output, float ``[receivers, out_channels]``, from sums over all ranks."""
        raise NotImplementedError

    def sum_messages(self, inputs: MessageInputs, messages: Messages, sender_scale: Tensor | None = None) -> Tensor:
        """Sums the messages of each receiver, rating embeddings included, and scales up sampled ones.

        Args:
            inputs: Transformed inputs of the senders.
            messages: Edges, residuals and rating levels.
            sender_scale: Factor of each sender's messages, float ``[senders]``; None for ones.

        Returns:
            Float ``[receivers, channels]``.
        """
        total = sum_values(inputs.value, inputs.residual_value, messages, sender_scale, self.narrow)
        if self.num_levels:
            levels = messages.level_counts if sender_scale is None else messages.level_sums(sender_scale)
            with full_precision(total):
                total = torch.addmm(total, levels, self.rating if inputs.rating is None else inputs.rating)
        return scale_sampled(total, messages)

    def scaled_with_bias(self, sums: Tensor, scale: Tensor) -> Tensor:
        """``sums[i] * scale[i] + bias``."""
        scale = scale.unsqueeze(1)
        return sums * scale if self.bias is None else torch.addcmul(self.bias, sums, scale)


def _reduce_rows(sums: Tensor, reduce: Reduce, active_rows: Tensor | None) -> Tensor:
    if active_rows is None:
        return reduce(sums)
    return torch.zeros_like(sums).index_copy(0, active_rows, reduce(sums.index_select(0, active_rows)))
