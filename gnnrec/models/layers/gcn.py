"""GCN: messages weighted by ``1 / sqrt(d_i d_j)`` (Kipf and Welling, ICLR 2017), on the bipartite graph."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Messages
from gnnrec.kernels.degrees import inverse_root
from gnnrec.models.conv import BipartiteConv, MessageInputs, PartialSums
from gnnrec.models.layers import LayerSpec
from gnnrec.models.options import ModelOptions


class BipartiteGCNConv(BipartiteConv):
    """``out_i = sum_j message_ij / sqrt(d_i d_j) [+ value_i / d_i] + bias``, with degrees of the whole graph.

    There is no denominator. ``self_loops`` adds one to every degree, and the receiver's own value, transformed like a
    sender's, to the sum, as in PyG's ``GCNConv``.
    """

    linear = True
    receives_message_inputs = True

    def __init__(self, *args: Any, self_loops: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.self_loops = self_loops

    def sender_weight(self, degree: Tensor) -> Tensor:
        return self.scale * self.inverse_sqrt(degree.double())

    def partial(
        self,
        inputs: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> PartialSums:
        return PartialSums(self.sum_messages(inputs, messages, self.inverse_sqrt(messages.sender_degree)))

    def finish(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        scale = self.inverse_sqrt(messages.degree)
        out = self.scaled_with_bias(partial.numerator, scale)
        if self.self_loops:
            out = out + self.lin_value(receiver) * scale.square().unsqueeze(1)
        return out

    def inverse_sqrt(self, degree: Tensor) -> Tensor:
        """Computes ``1 / sqrt(degree)``, and 0 where the degree is 0."""
        return inverse_root(degree, int(self.self_loops))


def build(options: ModelOptions, spec: LayerSpec) -> BipartiteGCNConv:
    """Builds a layer whose sums have about the standard deviation of one message.

    Symmetric normalization also divides by the root of the senders' degrees; the scale is the root of their mean.
    """
    scale = math.sqrt(max(spec.sender_degree, 1.0))
    channels = None if spec.first else options.dim
    return BipartiteGCNConv(channels, options.dim, spec.num_levels, scale, self_loops=options.self_loops)
