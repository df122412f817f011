"""GAT: messages weighted by attention (Velickovic et al., ICLR 2018), on the bipartite graph."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Messages
from gnnrec.kernels.attention import attention_by_level, attention_sums, largest_logits
from gnnrec.kernels.attention_output import attention_output, attention_totals
from gnnrec.models.conv import BipartiteConv, MessageInputs, PartialSums
from gnnrec.models.layers import LayerSpec
from gnnrec.models.message_sums import scale_sampled
from gnnrec.models.options import ModelOptions
from gnnrec.models.precision import full_precision


class BipartiteGATConv(BipartiteConv):
    """``out_i = sum_j a_ij message_ij [* sqrt(d_i)] + bias`` with ``a_ij`` the softmax over ``j`` of the logits

    ``leaky_relu(att_src . value_j + att_dst . W receiver_i + att_rating[level_ij], slope)``, for each head.

    No tensor of edges x channels is allocated: an edge has one logit per head.

    Args:
        heads: Attention heads.
        concat: Concatenate heads of ``out_channels / heads`` channels each; False averages heads of ``out_channels``.
        negative_slope: Slope of the leaky ReLU below zero.
        restore_degree: As in :class:`gnnrec.models.layers.sage.BipartiteSAGEConv`.
        receiver_channels: Channels of the receivers' states; None leaves them out of the logits.
    """

    marks_use = True

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        num_levels: int = 0,
        scale: float = 1.0,
        heads: int = 2,
        concat: bool = True,
        negative_slope: float = 0.2,
        restore_degree: bool = False,
        receiver_channels: int | None = None,
    ):
        if concat and out_channels % heads:
            raise ValueError(f"{out_channels} channels cannot be divided among {heads} heads")
        width = out_channels if concat else heads * out_channels
        super().__init__(in_channels, width, num_levels, scale, bias=False)
        self.heads, self.concat, self.negative_slope = heads, concat, negative_slope
        self.restore_degree = restore_degree
        self.att_src = nn.Parameter(torch.zeros(heads, width // heads))
        self.lin_receiver = self.att_dst = None
        if receiver_channels is not None:
            self.receiver_heads = heads
            self.lin_receiver = nn.Linear(receiver_channels, width, bias=False)
            self.att_dst = nn.Parameter(torch.zeros(heads, width // heads))
        self.att_rating = nn.Parameter(torch.zeros(self.num_levels, heads)) if self.num_levels else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self._frozen: tuple[Tensor, Tensor | None] | None = None

    @torch.no_grad()
    def freeze(self) -> None:
        with full_precision(self.att_src):
            self._frozen = self.attention_matrices()

    def partial(
        self,
        inputs: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> PartialSums:
        """Sums over the edges of this rank; ``shift`` is :meth:`largest_logit` over all ranks, or None."""
        sender, own, rating = self._logits(inputs, receiver)
        if world is not None and own is not None:
            own = world.use(own, messages.active_rows)
        lists, slope = messages.lists, self.negative_slope
        if shift is None:
            shift = self._largest(sender, own, rating, messages)
            shift = shift if world is None else world.all_reduce_max_(shift)
        # A receiver without messages has no largest logit.
        shift = torch.nan_to_num(shift, nan=0.0, posinf=0.0, neginf=0.0)
        options = lists, messages.level, slope, messages.to_users, self.num_levels
        tables = inputs.value, inputs.residual_value, sender, own, rating, shift
        if self.num_levels and shift.device.type != "cpu":
            totals = attention_totals(*attention_by_level(*tables, *options), self.rating, messages.sampling_scale)
            return PartialSums(*totals)
        numerator, denominator, levels = attention_sums(*tables, *options)
        if self.num_levels:
            per_head = self.rating.view(self.num_levels, self.heads, -1)
            with full_precision(numerator):
                numerator = numerator + torch.einsum("ihl,lhc->ihc", levels, per_head).flatten(1)
        return PartialSums(scale_sampled(numerator, messages), scale_sampled(denominator, messages))

    def finish(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        degree = messages.degree if self.restore_degree else None
        if self.concat and partial.numerator.device.type != "cpu":
            return attention_output(partial.numerator, partial.denominator, degree, self.bias)
        channels = partial.numerator.shape[1] // self.heads
        # A receiver without messages has 0 / 0; the maximum makes every other denominator at least 1 / sampling_scale.
        share = torch.where(partial.denominator > 0, partial.denominator, 1).reciprocal()
        out = partial.numerator.view(-1, self.heads, channels) * share.unsqueeze(2)
        out = out.flatten(1) if self.concat else out.mean(1)
        return self.scaled_with_bias(out, torch.ones_like(messages.degree) if degree is None else degree.sqrt())

    def _logits(self, inputs: MessageInputs, receiver: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Returns the parts of the logits due to senders, receivers and rating levels, float ``[..., heads]``."""
        dtype, own = self.att_src.dtype, None
        with full_precision(inputs.value):
            of_senders, of_receivers = self.attention_matrices() if self._frozen is None else self._frozen
            sender = inputs.value.to(dtype) @ of_senders
            if of_receivers is not None:
                own = receiver.to(dtype) @ of_receivers
        return sender, own, self.att_rating

    def attention_matrices(self) -> tuple[Tensor, Tensor | None]:
        """Returns what the states of senders, and of receivers, are multiplied by, float ``[channels, heads]``."""
        of_senders = _by_head(self.att_src)
        if self.lin_receiver is None:
            return of_senders, None
        # Only the product with the attention vectors is used, so it is not computed channel by channel.
        return of_senders, self.lin_receiver.weight.T @ _by_head(self.att_dst)

    @torch.no_grad()
    def largest_logit(self, inputs: MessageInputs, receiver: Tensor | None, messages: Messages) -> Tensor:
        """Returns the largest logit of each receiver, float ``[receivers, heads]``, -inf without messages.

        Subtracting it from all logits of a receiver keeps ``exp`` in range, and cancels in the softmax.
        """
        return self._largest(*self._logits(inputs, receiver), messages)

    @torch.no_grad()
    def _largest(self, sender: Tensor, own: Tensor | None, rating: Tensor | None, messages: Messages) -> Tensor:
        return largest_logits(
            sender, own, rating, messages.lists, messages.level, self.negative_slope, messages.to_users
        )


@functools.cache
def _identity(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(size, dtype=dtype, device=device)


def _by_head(attention: Tensor) -> Tensor:
    """Turns a vector per head, float ``[heads, channels]``, into a matrix ``[heads * channels, heads]``."""
    heads = len(attention)
    own = _identity(heads, attention.dtype, attention.device)
    return (own.unsqueeze(1) * attention.unsqueeze(2)).view(-1, heads)


def build(options: ModelOptions, spec: LayerSpec) -> BipartiteGATConv:
    """Builds a layer whose logits depend on receivers if these have states."""
    # With averaged heads, a linear layer turns one embedding into heads x dim channels.
    channels = None if spec.first and options.concat else options.dim
    receiver_channels = options.dim if spec.receiver_ids or not spec.first else None
    return BipartiteGATConv(
        channels, options.dim, spec.num_levels, heads=options.heads, concat=options.concat,
        restore_degree=options.restore_degree, receiver_channels=receiver_channels,
    )  # fmt: skip
