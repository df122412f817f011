"""GraphSAGE with mean aggregation (Hamilton, Ying and Leskovec, NeurIPS 2017), on the bipartite graph."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Messages
from gnnrec.kernels.degrees import mean_scale
from gnnrec.models.conv import BipartiteConv, MessageInputs, PartialSums
from gnnrec.models.layers import LayerSpec
from gnnrec.models.options import ModelOptions


class BipartiteSAGEConv(BipartiteConv):
    """``out_i = mean_j message_ij [* sqrt(d_i)] [+ W_root receiver_i] + bias``.

    Args:
        root_weight: Add the linearly transformed state of the receiver, as PyG's ``SAGEConv`` does.
        restore_degree: Multiply the mean by ``sqrt(d_i)``: a mean alone does not tell how many ratings it is over, and
            so how reliable it is.
    """

    linear = True

    def __init__(self, *args: Any, root_weight: bool = False, restore_degree: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.restore_degree = restore_degree
        self.lin_root = nn.Linear(self.in_channels, self.out_channels, bias=False) if root_weight else None

    def partial(
        self,
        inputs: MessageInputs,
        receiver: Tensor | None,
        messages: Messages,
        world: World | None,
        shift: Tensor | None = None,
    ) -> PartialSums:
        return PartialSums(self.sum_messages(inputs, messages))

    def finish(self, partial: PartialSums, receiver: Tensor | None, messages: Messages) -> Tensor:
        # A receiver without edges gets 0 / 1; otherwise the total weight is at least 1.
        scale = mean_scale(messages.total, messages.degree if self.restore_degree else None)
        out = self.scaled_with_bias(partial.numerator, scale)
        return out if self.lin_root is None else out + self.lin_root(receiver)


def build(options: ModelOptions, spec: LayerSpec) -> BipartiteSAGEConv:
    """Builds a layer that adds the receiver's state, except the first: the encoder adds id embeddings to its output."""
    channels = None if spec.first else options.dim
    root, restore = not spec.first, options.restore_degree
    return BipartiteSAGEConv(channels, options.dim, spec.num_levels, root_weight=root, restore_degree=restore)
