"""Fused sums over ragged neighbour lists, and dot products over ragged pairs.

No tensor of edges x dims is ever made: the forward pass is ``embedding_bag`` over CSR lists, the backward pass the
same over the transposed lists, and gradients of edge weights are dot products taken edge by edge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.graph.batch import Messages, Targets
from gnnrec.kernels.ragged import counting_sort, index_dtype, owners


def ragged_sum(values: Tensor, messages: Messages, weight: Tensor, weight_by_sender: Tensor | None = None) -> Tensor:
    """``out[i] = sum over edges e of receiver i: weight[e] * values[sender[e]]``.

    Args:
        values: Float ``[senders, channels]``; differentiable.
        messages: The edges.
        weight: Float ``[edges]`` by receiver; differentiable.
        weight_by_sender: The same by sender, where the caller has it; otherwise it is gathered in the backward pass.

    Returns:
        Float ``[receivers, channels]``.
    """
    # Autocast may have made values bfloat16; sums are taken in the type of the weights.
    return _RaggedSum.apply(values.to(weight.dtype), weight, weight_by_sender, messages)


class _RaggedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, weight, weight_by_sender, messages):
        ctx.save_for_backward(values, weight, weight_by_sender)
        ctx.messages = messages
        return bag(values, messages.sender, messages.pointer, weight)

    @staticmethod
    def backward(ctx, gradient):
        values, weight, weight_by_sender = ctx.saved_tensors
        messages: Messages = ctx.messages
        gradient = gradient.contiguous()
        for_values = for_weight = None
        if ctx.needs_input_grad[0]:
            if weight_by_sender is None:
                weight_by_sender = weight[messages.order]
            for_values = bag(gradient, messages.receiver, messages.sender_pointer, weight_by_sender)
        if ctx.needs_input_grad[1]:
            for_weight = _dots(gradient, values, messages.sender, messages.pointer, messages.owner)
        return for_values, for_weight, None, None


def pair_dot(users: Tensor, movies: Tensor, targets: Targets) -> Tensor:
    """Dot products of the users and movies of targets, float ``[targets]``.

    Args:
        users: Float ``[users, dim]``; differentiable.
        movies: Float ``[movies, dim]``; differentiable.
        targets: The pairs.
    """
    return _PairDot.apply(users, movies, targets)


class _PairDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx, users, movies, targets):
        ctx.save_for_backward(users, movies)
        ctx.targets = targets
        return _dots(users, movies, targets.movie, targets.pointer, owners(targets.pointer))

    @staticmethod
    def backward(ctx, gradient):
        users, movies = ctx.saved_tensors
        targets: Targets = ctx.targets
        gradient = gradient.contiguous()
        for_users = for_movies = None
        if ctx.needs_input_grad[0]:
            for_users = bag(movies, targets.movie, targets.pointer, gradient)
        if ctx.needs_input_grad[1]:
            pointer, order = counting_sort(targets.movie, movies.shape[0])
            for_movies = bag(users, owners(targets.pointer)[order], pointer, gradient[order])
        return for_users, for_movies, None


def bag(values: Tensor, index: Tensor, pointer: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sums of ``weight[e] * values[index[e]]`` over consecutive lists, with torch's own backward pass.

    Args:
        values: Float ``[rows, channels]``.
        index: Rows, integers ``[entries]``.
        pointer: Offsets of the lists, integers ``[lists + 1]``.
        weight: Float ``[entries]`` in the dtype of ``values``, or None for ones.

    Returns:
        Float ``[lists, channels]``, zero where a list is empty.
    """
    kind = index_dtype(index.numel())
    return torch.nn.functional.embedding_bag(
        index.to(kind),
        values.contiguous(),
        pointer.to(kind),
        mode="sum",
        include_last_offset=True,
        per_sample_weights=weight,
    )


def _dots(left: Tensor, right: Tensor, index: Tensor, pointer: Tensor, owner: Tensor) -> Tensor:
    """``left[owner[e]] . right[index[e]]`` for every ``e``.

    It is the derivative of a bag's sum by its weights, and torch has that as an operator that does not gather rows.
    """
    kind = index_dtype(index.numel())
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        left.contiguous(), right.contiguous(), index.to(kind), pointer[:-1].to(kind), owner.to(kind), 0
    )
