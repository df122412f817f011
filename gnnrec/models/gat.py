"""GAT: messages weighted by attention (Velickovic et al., ICLR 2018), on the bipartite graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gnnrec.distributed import World
from gnnrec.graph.batch import Messages
from gnnrec.models.conv import BipartiteConv, Partial, Sources, inflate
from gnnrec.models.ragged_sum import ragged_sum


class BipartiteGATConv(BipartiteConv):
    """``out_i = sum_j a_ij message_ij [* sqrt(d_i)] + bias`` with ``a_ij`` the softmax over ``j`` of the logits

    ``leaky_relu(att_src . value_j + att_dst . W receiver_i + att_rating[level_ij], slope)``, for each head.

    Nothing of edges x channels is made: an edge carries one logit a head.

    Args:
        heads: Attention heads.
        concat: Concatenate heads of ``out_channels / heads`` channels each; False averages heads of ``out_channels``.
        negative_slope: Of the leaky ReLU.
        restore_degree: As in :class:`gnnrec.models.sage.BipartiteSAGEConv`.
        receiver_channels: Channels of the receivers' states; None leaves them out of the logits.
    """

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        *args,
        heads: int = 2,
        concat: bool = True,
        negative_slope: float = 0.2,
        restore_degree: bool = False,
        receiver_channels: int | None = None,
        **kwargs,
    ):
        if concat and out_channels % heads:
            raise ValueError(f"{out_channels} channels cannot be divided among {heads} heads")
        width = out_channels if concat else heads * out_channels
        super().__init__(in_channels, width, *args, bias=False, **kwargs)
        self.heads, self.concat, self.negative_slope = heads, concat, negative_slope
        self.restore_degree = restore_degree
        self.att_src = nn.Parameter(torch.zeros(heads, width // heads))
        self.lin_receiver = self.att_dst = None
        if receiver_channels is not None:
            self.lin_receiver = nn.Linear(receiver_channels, width, bias=False)
            self.att_dst = nn.Parameter(torch.zeros(heads, width // heads))
        self.att_rating = nn.Parameter(torch.zeros(self.num_levels, heads)) if self.num_levels else None
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def partial(
        self,
        sources: Sources,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> Partial:
        """Sums of this rank; ``shift`` is what to subtract from logits, where the caller has :meth:`largest_logit`."""
        logit = self._logits(sources, receiver, messages)
        if shift is None:
            shift = _largest(logit, messages)
            shift = shift if world is None else world.max_(shift)
        # A receiver without messages has no largest logit.
        shift = torch.where(shift.isfinite(), shift, 0)
        attention = (logit - shift[messages.owner]).exp()
        per_head = [self._sum_head(sources, messages, attention, head) for head in range(self.heads)]
        denominator = attention.new_zeros(messages.num_receivers, self.heads)
        denominator = denominator.index_add(0, messages.owner, attention)
        return Partial(inflate(torch.cat(per_head, 1), messages), inflate(denominator, messages))

    def finish(self, partial: Partial, receiver: Tensor | None, messages: Messages) -> Tensor:
        channels = partial.numerator.shape[1] // self.heads
        # A receiver without messages has 0 / 0; the maximum makes every other denominator at least 1 / inflation.
        denominator = torch.where(partial.denominator > 0, partial.denominator, 1)
        out = partial.numerator.view(-1, self.heads, channels) / denominator.unsqueeze(2)
        out = out.flatten(1) if self.concat else out.mean(1)
        if self.restore_degree:
            out = out * messages.degree.sqrt().unsqueeze(1)
        return self.add_bias(out)

    def _logits(self, sources: Sources, receiver: Tensor | None, messages: Messages) -> Tensor:
        """Float ``[edges, heads]`` by receiver."""
        value = sources.value.view(-1, self.heads, self.att_src.shape[1])
        logit = (value * self.att_src).sum(2)[messages.sender]
        if self.lin_receiver is not None:
            state = self.lin_receiver(receiver).view(-1, self.heads, self.att_src.shape[1])
            logit = logit + (state * self.att_dst).sum(2)[messages.owner]
        if self.num_levels:
            logit = logit + self.att_rating[messages.level.to(torch.int32)]
        excluded = messages.weight.unsqueeze(1) == 0
        return leaky_relu(logit, self.negative_slope).masked_fill(excluded, -torch.inf)

    @torch.no_grad()
    def largest_logit(self, sources: Sources, receiver: Tensor | None, messages: Messages) -> Tensor:
        """Largest logit of each receiver over these messages, float ``[receivers, heads]``, -inf where there are none.

        Subtracted from all logits of a receiver it keeps ``exp`` in range, and cancels.
        """
        return _largest(self._logits(sources, receiver, messages), messages)

    def _sum_head(self, sources: Sources, messages: Messages, attention: Tensor, head: int) -> Tensor:
        channels = self.att_src.shape[1]
        chosen = slice(head * channels, (head + 1) * channels)
        weight = attention[:, head].contiguous()
        total = ragged_sum(sources.value[:, chosen], messages, weight)
        if self.num_levels:
            # A mean needs no scaling up for messages that were left out: their weights are not in its denominator.
            residual = messages.residual / messages.weight.clamp(min=1)
            total = total + ragged_sum(sources.residual_value[:, chosen], messages, weight * residual)
            total = total + messages.level_histogram(weight) @ self.rating[:, chosen]
        return total


@torch.no_grad()
def _largest(logit: Tensor, messages: Messages) -> Tensor:
    return torch.segment_reduce(logit.detach(), "max", offsets=messages.pointer, axis=0, initial=-torch.inf)
