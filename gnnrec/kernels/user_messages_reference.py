"""Reference implementation of :mod:`gnnrec.kernels.user_messages` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels.ragged import ranges


def user_messages(
    users: Tensor,
    pointer: Tensor,
    entries: int,
    every: tuple[Tensor, Tensor, Tensor, Tensor | None],
    stream: int,
    rate: float,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.user_messages.user_messages`."""
    start, movie, edge_id, value = every
    index = ranges(start[users], pointer.diff(), entries)
    edge_id = edge_id[index]
    sent = message_weights(stream, edge_id, rate, like.dtype)
    if value is None:
        return movie[index], edge_id, sent, None
    value = value[index].to(like.dtype)
    return movie[index], edge_id, sent * value, value


def message_weights(stream: int, edge_id: Tensor, rate: float, dtype: torch.dtype) -> Tensor:
    """Draws weights of inverted message dropout: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    Args:
        stream: Key from :func:`gnnrec.rng.key`, a new one for every step.
        edge_id: Global ids of the edges, int32 or int64 ``[edges]``.
        rate: Dropout rate, in ``[0, 1)``.
        dtype: Type of the result, ``[edges]``.
    """
    return (rng.uniform(stream, edge_id) >= rate).to(dtype) / (1 - rate)
