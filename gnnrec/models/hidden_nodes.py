"""Users with features that training treats as unknown for a pass, so that their features learn to stand in."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.data.features.node_features import Node
from gnnrec.graph.batch import Batch, Messages

#: Share of the nodes without rows that are also without ratings.
COLD_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class HiddenNodes:
    """Users in a pass over them, by global rows; a function of the seed, the pass and the rows alone.

    Attributes:
        kept: 0 for nodes without rows in any table, else 1: float ``[nodes]``.
        rated: 0 for those of them that are also without ratings, which new nodes are: their closed-form bias is 0
            and they receive no message. Else 1: float ``[nodes]``.
    """

    kept: Tensor
    rated: Tensor

    @staticmethod
    def draw(pass_key: int | None, rate: float, node: Node, rows: Tensor, dtype: torch.dtype) -> HiddenNodes | None:
        """Draws the nodes of a pass; None without a pass, or if the rate is 0.

        Args:
            pass_key: Key of the pass, from :func:`gnnrec.rng.key`; None in inference.
            rate: Share of the nodes without rows.
            node: Type of the nodes.
            rows: Global rows, int64 ``[nodes]``.
            dtype: Floating-point type of the result.
        """
        if pass_key is None or rate <= 0:
            return None
        number = rng.uniform(rng.key(pass_key, "rows", node), rows)
        return HiddenNodes((number >= rate).to(dtype), (number >= rate * COLD_SHARE).to(dtype))


def hide_ratings(batch: Batch, users: HiddenNodes | None) -> Batch:
    """Removes the closed-form biases of users without ratings, and the messages to them."""
    if users is None:
        return batch
    to_users = _without_messages(batch.to_users, users.rated)
    return dataclasses.replace(batch, to_users=to_users, user_bias=batch.user_bias * users.rated)


def _without_messages(messages: Messages, rated: Tensor) -> Messages:
    return dataclasses.replace(messages, degree=messages.degree * rated, received=rated)
