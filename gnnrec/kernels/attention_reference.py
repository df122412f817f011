"""What :mod:`gnnrec.kernels.attention` computes, in plain torch; it makes tensors of edges x heads.

Sums are bags over edges that are sorted by what they are summed up for, so the same input gives the same result.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, leaky_relu

from gnnrec.kernels.lists import CSRLists


def largest(sender_logit: Tensor, rating_logit: Tensor | None, edges: tuple, to_users: bool) -> Tensor:
    """Largest sum of the logits of sender and rating, ``[receivers, heads]``, -inf without messages.

    Args:
        sender_logit: ``[senders, heads]``.
        rating_logit: ``[levels, heads]`` or None.
        edges: Pointer, entry, level, the edges sorted by column (pointer, row and order, or three None) and columns.
        to_users: Whether lists receive.
    """
    pointer, entry, level, by_column, columns = edges
    by_receiver, _ = _orders(pointer, entry, by_column, columns, to_users)
    logit = sender_logit[by_receiver.sender]
    if rating_logit is not None:
        logit = logit + rating_logit[_taken(level, by_receiver.order).to(torch.int32)]
    return torch.segment_reduce(logit, "max", offsets=by_receiver.pointer, axis=0, initial=-torch.inf)


def sums(tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool, kinds: int) -> list[Tensor]:
    """Sums over messages ``[receivers, heads * channels]`` and of attention ``[receivers, heads, kinds]``.

    Args:
        tables: Values, second values, logits of senders, of receivers and of ratings, and shift.
        edges: Pointer, entry, factor, level, the edges sorted by column and columns, as in :func:`largest`.
        weight: What factors are divided by.
        slope: Of the leaky ReLU.
        to_users: Whether lists receive.
        kinds: Number of levels that sums of attention are taken for; 1 for all together.
    """
    value, second = tables[:2]
    pointer, entry, factor, level, by_column, columns = edges
    at, _ = _orders(pointer, entry, by_column, columns, to_users)
    attention, _ = _attention(tables, level, at, slope)
    # Bags of one-hot rows sort attention by level.
    kind = _taken(level, at.order).to(at.sender.dtype) if kinds > 1 else torch.zeros_like(at.sender)
    one_hot = torch.eye(kinds, dtype=attention.dtype, device=attention.device)
    numerators, by_kind = [], []
    for head in range(attention.shape[1]):
        weights = attention[:, head].contiguous()
        total = _bag(_columns(value, attention, head), at.sender, at.pointer, weights)
        if second is not None:
            weights_of_second = weights * (_taken(factor, at.order) / weight)
            total = total + _bag(_columns(second, attention, head), at.sender, at.pointer, weights_of_second)
        numerators.append(total)
        by_kind.append(_bag(one_hot, kind, at.pointer, weights))
    return [torch.cat(numerators, 1), torch.stack(by_kind, 1)]


def gradients(
    gradient: tuple[Tensor, Tensor], tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list[Tensor | None]:
    """Of the five differentiable tables, given those of the two results; arguments as of :func:`sums`."""
    value, second, _, _, rating_logit, _ = tables
    of_sums, of_kinds = gradient
    pointer, entry, factor, level, by_column, columns = edges
    at, by_sender = _orders(pointer, entry, by_column, columns, to_users)
    attention, slopes = _attention(tables, level, at, slope)
    heads, kinds = of_kinds.shape[1:]
    kind = _taken(level, at.order).to(torch.int64) if kinds > 1 else torch.zeros_like(at.sender)
    rated = torch.zeros_like(at.sender) if rating_logit is None else _taken(level, at.order).to(at.sender.dtype)
    levels = 1 if rating_logit is None else len(rating_logit)
    one_hot = torch.eye(levels, dtype=attention.dtype, device=attention.device)
    moved = by_sender.order
    if moved is None:  # The way back from edges sorted by column to the order of the lists.
        moved = torch.empty_like(at.order)
        moved[at.order] = torch.arange(len(moved), device=moved.device)
    scaled = None if second is None else _taken(factor, at.order) / weight
    found = [[] for _ in range(5)]
    for head in range(heads):
        mine, weights = _columns(of_sums, attention, head), attention[:, head].contiguous()
        effect = of_kinds[at.receiver, head, kind] + _dots(mine, _columns(value, attention, head), at)
        found[0].append(_bag(mine, by_sender.sender, by_sender.pointer, weights[moved]))
        if second is not None:
            effect = effect + scaled * _dots(mine, _columns(second, attention, head), at)
            found[1].append(_bag(mine, by_sender.sender, by_sender.pointer, (weights * scaled)[moved]))
        of_logit = (effect * weights * slopes[:, head]).contiguous()
        ones = one_hot.new_ones(1, 1)
        found[2].append(_bag(ones, torch.zeros_like(at.sender), by_sender.pointer, of_logit[moved]))
        by_level = _bag(one_hot, rated, at.pointer, of_logit)
        found[3].append(by_level.sum(1, keepdim=True))
        found[4].append(by_level.sum(0).unsqueeze(1))
    return [None if table is None else torch.cat(each, 1) for each, table in zip(found, tables)]


def _orders(
    pointer: Tensor, entry: Tensor, by_column: tuple, columns: int, to_users: bool
) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Edges sorted by receiver and by sender; ``sender`` is the other end, ``order`` None for that of the lists."""
    lists = CSRLists(pointer, entry, columns)
    column_pointer, row, order = lists.by_column if by_column[0] is None else by_column
    of_rows = SimpleNamespace(
        pointer=pointer.to(torch.int64), sender=entry.to(torch.int64), receiver=lists.owner.to(torch.int64), order=None
    )
    of_columns = SimpleNamespace(
        pointer=column_pointer.to(torch.int64), sender=row.to(torch.int64), receiver=_taken(entry, order), order=order
    )
    of_columns.receiver = of_columns.receiver.to(torch.int64)
    return (of_rows, of_columns) if to_users else (of_columns, of_rows)


def _taken(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values[order]


def _attention(tables: tuple, level: Tensor | None, at: SimpleNamespace, slope: float) -> tuple[Tensor, Tensor]:
    """Weights of messages and derivatives of the leaky ReLU, ``[edges, heads]`` by receiver."""
    _, _, sender_logit, receiver_logit, rating_logit, shift = tables
    logit = sender_logit[at.sender]
    if receiver_logit is not None:
        logit = logit + receiver_logit[at.receiver]
    if rating_logit is not None:
        logit = logit + rating_logit[_taken(level, at.order).to(torch.int32)]
    slopes = (logit > 0).to(logit.dtype) * (1 - slope) + slope
    return (leaky_relu(logit, slope) - shift[at.receiver]).exp(), slopes


def _columns(table: Tensor, attention: Tensor, head: int) -> Tensor:
    """What a head has of a table, in the type of attention."""
    channels = table.shape[1] // attention.shape[1]
    return table[:, head * channels : (head + 1) * channels].to(attention.dtype).contiguous()


def _bag(table: Tensor, entry: Tensor, pointer: Tensor, weights: Tensor) -> Tensor:
    return embedding_bag(entry, table, pointer, mode="sum", include_last_offset=True, per_sample_weights=weights)


def _dots(gradient: Tensor, table: Tensor, at: SimpleNamespace) -> Tensor:
    """``gradient[receiver] . table[sender]`` of each edge, which is what a bag's weights have as gradient."""
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        gradient, table, at.sender, at.pointer[:-1], at.receiver, 0
    )
