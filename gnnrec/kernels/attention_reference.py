"""Reference implementation of :mod:`gnnrec.kernels.attention` in plain torch, with tensors of edges x heads.

Sums are embedding bags over edges sorted by receiver or sender, so results are deterministic.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, leaky_relu

from gnnrec.kernels.lists import CSRLists


def largest(sender_logit: Tensor, rating_logit: Tensor | None, edges: tuple, to_users: bool) -> Tensor:
    """Computes the largest sum of the logits of sender and rating, ``[receivers, heads]``, -inf without messages.

    Args:
        sender_logit: ``[senders, heads]``.
        rating_logit: ``[levels, heads]`` or None.
        edges: Pointer, entry, level, the edges sorted by column (pointer, row and order, or three None) and columns.
        to_users: Whether lists receive.
    """
    pointer, entry, level, by_column, columns = edges
    by_receiver = _sorted_by(pointer, entry, by_column, columns, not to_users)
    logit = sender_logit[by_receiver.sender]
    if rating_logit is not None:
        logit = logit + rating_logit[_reordered(level, by_receiver.order).to(torch.int32)]
    return torch.segment_reduce(logit, "max", offsets=by_receiver.pointer, axis=0, initial=-torch.inf)


def sums(tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool, kinds: int) -> list[Tensor]:
    """Sums messages ``[receivers, heads * channels]`` and attention ``[receivers, heads, kinds]``.

    Args:
        tables: Values, second values, logits of senders, of receivers and of ratings, and shift.
        edges: Pointer, entry, factor, level, the edges sorted by column and columns, as in :func:`largest`.
        weight: Divisor of factors.
        slope: Slope of the leaky ReLU below zero.
        to_users: Whether lists receive.
        kinds: Number of levels by which attention is summed; 1 for one sum over all levels.
    """
    value, second = tables[:2]
    pointer, entry, factor, level, by_column, columns = edges
    at = _sorted_by(pointer, entry, by_column, columns, not to_users)
    attention, _ = _attention(tables, level, at, slope)
    # Bags of one-hot rows sort attention by level.
    kind = _reordered(level, at.order).to(at.sender.dtype) if kinds > 1 else torch.zeros_like(at.sender)
    one_hot = torch.eye(kinds, dtype=attention.dtype, device=attention.device)
    numerators, by_kind = [], []
    for head in range(attention.shape[1]):
        weights = attention[:, head].contiguous()
        total = _bag(_columns(value, attention, head), at.sender, at.pointer, weights)
        if second is not None:
            weights_of_second = weights * (_reordered(factor, at.order) / weight)
            total = total + _bag(_columns(second, attention, head), at.sender, at.pointer, weights_of_second)
        numerators.append(total)
        by_kind.append(_bag(one_hot, kind, at.pointer, weights))
    return [torch.cat(numerators, 1), torch.stack(by_kind, 1)]


def gradients(
    gradient: tuple[Tensor, Tensor], tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list[Tensor | None]:
    """Computes the gradients of the five differentiable tables from those of both results of :func:`sums`."""
    value, second, _, _, rating_logit, _ = tables
    grad_sums, grad_kinds = gradient
    pointer, entry, factor, level, by_column, columns = edges
    at, by_sender = (_sorted_by(pointer, entry, by_column, columns, movies) for movies in (not to_users, to_users))
    attention, slopes = _attention(tables, level, at, slope)
    heads, kinds = grad_kinds.shape[1:]
    kind = _reordered(level, at.order).to(torch.int64) if kinds > 1 else torch.zeros_like(at.sender)
    rated = torch.zeros_like(at.sender) if rating_logit is None else _reordered(level, at.order).to(at.sender.dtype)
    levels = 1 if rating_logit is None else len(rating_logit)
    one_hot = torch.eye(levels, dtype=attention.dtype, device=attention.device)
    to_sender = by_sender.order
    if to_sender is None:  # The inverse permutation, from edges sorted by column to the order of the lists.
        to_sender = torch.empty_like(at.order)
        to_sender[at.order] = torch.arange(len(to_sender), device=to_sender.device)
    scaled = None if second is None else _reordered(factor, at.order) / weight
    gradients_of_heads = [[] for _ in range(5)]
    for head in range(heads):
        grad_head, weights = _columns(grad_sums, attention, head), attention[:, head].contiguous()
        grad_weight = grad_kinds[at.receiver, head, kind] + _dots(grad_head, _columns(value, attention, head), at)
        gradients_of_heads[0].append(_bag(grad_head, by_sender.sender, by_sender.pointer, weights[to_sender]))
        if second is not None:
            grad_weight = grad_weight + scaled * _dots(grad_head, _columns(second, attention, head), at)
            scaled_weights = (weights * scaled)[to_sender]
            gradients_of_heads[1].append(_bag(grad_head, by_sender.sender, by_sender.pointer, scaled_weights))
        grad_logit = (grad_weight * weights * slopes[:, head]).contiguous()
        ones = one_hot.new_ones(1, 1)
        zeros = torch.zeros_like(at.sender)
        gradients_of_heads[2].append(_bag(ones, zeros, by_sender.pointer, grad_logit[to_sender]))
        by_level = _bag(one_hot, rated, at.pointer, grad_logit)
        gradients_of_heads[3].append(by_level.sum(1, keepdim=True))
        gradients_of_heads[4].append(by_level.sum(0).unsqueeze(1))
    return [None if table is None else torch.cat(parts, 1) for parts, table in zip(gradients_of_heads, tables)]


def _sorted_by(pointer: Tensor, entry: Tensor, by_column: tuple, columns: int, movies: bool) -> SimpleNamespace:
    """Sorts edges by movie or by user. ``sender`` is the other end; ``order`` is None for the order of lists."""
    lists = CSRLists(pointer, entry, columns)
    if not movies:
        ends = entry.to(torch.int64), lists.owner.to(torch.int64)
        return SimpleNamespace(pointer=pointer.to(torch.int64), sender=ends[0], receiver=ends[1], order=None)
    column_pointer, row, order = lists.by_column if by_column[0] is None else by_column
    return SimpleNamespace(
        pointer=column_pointer.to(torch.int64),
        sender=row.to(torch.int64),
        receiver=_reordered(entry, order).to(torch.int64),
        order=order,
    )


def _reordered(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values[order]


def _attention(tables: tuple, level: Tensor | None, at: SimpleNamespace, slope: float) -> tuple[Tensor, Tensor]:
    """Computes weights of messages and derivatives of the leaky ReLU, ``[edges, heads]`` by receiver."""
    _, _, sender_logit, receiver_logit, rating_logit, shift = tables
    logit = sender_logit[at.sender]
    if receiver_logit is not None:
        logit = logit + receiver_logit[at.receiver]
    if rating_logit is not None:
        logit = logit + rating_logit[_reordered(level, at.order).to(torch.int32)]
    slopes = (logit > 0).to(logit.dtype) * (1 - slope) + slope
    return (leaky_relu(logit, slope) - shift[at.receiver]).exp(), slopes


def _columns(table: Tensor, attention: Tensor, head: int) -> Tensor:
    """Returns the columns of a head in the dtype of attention."""
    channels = table.shape[1] // attention.shape[1]
    return table[:, head * channels : (head + 1) * channels].to(attention.dtype).contiguous()


def _bag(table: Tensor, entry: Tensor, pointer: Tensor, weights: Tensor) -> Tensor:
    return embedding_bag(entry, table, pointer, mode="sum", include_last_offset=True, per_sample_weights=weights)


def _dots(gradient: Tensor, table: Tensor, at: SimpleNamespace) -> Tensor:
    """Computes ``gradient[receiver] . table[sender]`` for each edge, the gradient of a bag's weights."""
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        gradient, table, at.sender, at.pointer[:-1], at.receiver, 0
    )
