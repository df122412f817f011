"""Sums of the values of messages, without rating embeddings."""

from __future__ import annotations

from torch import Tensor

from gnnrec.graph.batch import Messages
from gnnrec.kernels.sums import gather_sums, scatter_sums


def sum_values(
    value: Tensor,
    residual_value: Tensor | None,
    messages: Messages,
    sender_scale: Tensor | None = None,
    narrow: bool = False,
) -> Tensor:
    """Computes ``out[i] = sum over messages: sender_scale[j] * (weight * value[j] + residual * residual_value[j])``.

    Args:
        value: Float ``[senders, channels]``; differentiable.
        residual_value: Like ``value``; None ignores ratings.
        messages: Edges and residuals.
        sender_scale: Float ``[senders]``, or None for ones.
        narrow: Read rows for each message in bfloat16.

    Returns:
        Float ``[receivers, channels]``.
    """
    lists = messages.lists if residual_value is not None else messages.lists.replace(factor=None)
    if not messages.to_users:
        return scatter_sums(value, residual_value, lists.replace(row_scale=sender_scale), narrow)
    if sender_scale is not None:
        value = value * sender_scale.unsqueeze(1)
        residual_value = None if residual_value is None else residual_value * sender_scale.unsqueeze(1)
    return gather_sums(value, residual_value, lists, narrow)


def scale_sampled(total: Tensor, messages: Messages) -> Tensor:
    """Scales sums over sampled edges up to the whole neighborhood."""
    return total if messages.sampling_scale is None else total * messages.sampling_scale.unsqueeze(1)
