"""Attention-weighted sums over ragged lists, in both directions, as torch operators.

A message from sender j to receiver i has, for each head, the logit ``leaky_relu(sender_logit[j] + receiver_logit[i] +
rating_logit[level])`` (Velickovic et al., ICLR 2018, with a term for the rating); receivers sum messages times
``exp(logit - shift[i])``. Numerator and denominator of the softmax are returned separately, because both are summed
over ranks and chunks before the division. Backward recomputes the weights: no tensor of edges x heads is kept. Only on
GPUs, backward has one, the gradients of logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from gnnrec.kernels import attention_reference, dispatch
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("attention", attention_reference)


@torch.no_grad()
def largest_logits(
    sender_logit: Tensor,
    receiver_logit: Tensor | None,
    rating_logit: Tensor | None,
    lists: CSRLists,
    level: Tensor | None,
    slope: float,
    to_users: bool,
) -> Tensor:
    """Computes the largest logit of each receiver, without a gradient.

    Args:
        sender_logit: Float ``[senders, heads]``.
        receiver_logit: Float ``[receivers, heads]``, or None for zeros.
        rating_logit: Float ``[levels, heads]``, or None for zeros.
        lists: Rows are users, columns movies.
        level: Level of each edge, uint8 ``[edges]``; None without rating logits.
        slope: Slope of the leaky ReLU below zero, not negative.
        to_users: Lists receive from their entries; False: entries receive from the lists that contain them.

    Returns:
        ``[receivers, heads]``, -inf for a receiver without messages.
    """
    _check(lists, slope)
    dtype = torch.promote_types(sender_logit.dtype, torch.float32)
    sender_logit, receiver_logit, rating_logit = _as(dtype, sender_logit, receiver_logit, rating_logit)
    level = None if rating_logit is None else level
    by_column = _by_column(lists, not to_users)
    largest = _largest(
        sender_logit, rating_logit, lists.pointer, lists.entry, level, *by_column, lists.columns, to_users
    )
    # The leaky ReLU is monotonic, so the largest sum has the largest logit.
    return leaky_relu(largest if receiver_logit is None else largest + receiver_logit, slope).masked_fill_(
        largest == -torch.inf, -torch.inf
    )


def attention_sums(
    value: Tensor,
    second: Tensor | None,
    sender_logit: Tensor,
    receiver_logit: Tensor | None,
    rating_logit: Tensor | None,
    shift: Tensor,
    lists: CSRLists,
    level: Tensor | None,
    slope: float,
    to_users: bool,
    num_levels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes ``sum over messages e to i: a[e] * (value[j] + factor[e] / weight * second[j])``, and sums of ``a``.

    ``a[e] = exp(logit[e] - shift[i])`` for each head; values of a head are ``channels`` consecutive columns.

    Args:
        value: float32, float64 or bfloat16 ``[senders, heads * channels]``; differentiable.
        second: Like ``value``, or None; needs factors.
        sender_logit: As in :func:`largest_logits`; all three logits are differentiable here.
        receiver_logit: Float ``[receivers, heads]``, or None for zeros.
        rating_logit: Float ``[levels, heads]``, or None for zeros.
        shift: Subtracted from logits to keep ``exp`` in range, finite ``[receivers, heads]``; a constant.
        lists: As in :func:`largest_logits`.
        level: Level of each edge, uint8 ``[edges]``; None without rating logits and with ``num_levels`` 0.
        slope: As in :func:`largest_logits`.
        to_users: As in :func:`largest_logits`.
        num_levels: Levels by which attention is summed; 0 for none.

    Returns:
        Sums of messages ``[receivers, heads * channels]``, of ``a`` ``[receivers, heads]``, and of ``a`` by level
        ``[receivers, heads, num_levels]``, in float32 or float64.
    """
    logits = sender_logit, receiver_logit, rating_logit, shift
    numerator, sums = attention_by_level(value, second, *logits, lists, level, slope, to_users, num_levels)
    return numerator, sums.sum(2), sums[:, :, :num_levels]


def attention_by_level(
    value: Tensor,
    second: Tensor | None,
    sender_logit: Tensor,
    receiver_logit: Tensor | None,
    rating_logit: Tensor | None,
    shift: Tensor,
    lists: CSRLists,
    level: Tensor | None,
    slope: float,
    to_users: bool,
    num_levels: int,
) -> tuple[Tensor, Tensor]:
    """Computes the sums of messages of :func:`attention_sums`, and those of ``a`` by level, at least one."""
    _check(lists, slope)
    if second is not None and lists.factor is None:
        raise ValueError("second values need a factor for each edge")
    if level is None and (num_levels or rating_logit is not None):
        raise ValueError("sums by level and rating logits need the level of each edge")
    factor = None if second is None else lists.factor
    dtype = torch.promote_types(value.dtype, torch.float32)
    *logits, factor = _as(dtype, sender_logit, receiver_logit, rating_logit, shift.detach(), factor)
    kinds = max(num_levels, 1)
    level = level if kinds > 1 or rating_logit is not None else None
    by_column = _by_column(lists, not to_users or torch.is_grad_enabled())
    tables, edges = (value, second, *logits), (lists.pointer, lists.entry, factor, level, *by_column)
    return _forward(*tables, *edges, lists.weight, lists.columns, slope, to_users, kinds)


def _check(lists: CSRLists, slope: float) -> None:
    if lists.row_scale is not None:
        raise ValueError("attention does not support row scales: the softmax would cancel them")
    if slope < 0:
        raise ValueError("the slope of the leaky ReLU must not be negative")


def _as(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _by_column(lists: CSRLists, used: bool) -> tuple:
    """Returns the edges sorted by movie for GPU kernels that use them: sums for movies, and all gradients."""
    return lists.by_column if used and lists.entry.device.type != "cpu" else (None, None, None)


@operator("gnnrec::attention_largest")
def _largest(
    sender_logit: Tensor,
    rating_logit: Tensor | None,
    pointer: Tensor,
    entry: Tensor,
    level: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    columns: int,
    to_users: bool,
) -> Tensor:
    edges = pointer, entry, level, (column_pointer, row, order), columns
    return _KERNELS[sender_logit.device.type].largest(sender_logit, rating_logit, edges, to_users)


@operator("gnnrec::attention_sums")
def _forward(
    value: Tensor,
    second: Tensor | None,
    sender_logit: Tensor,
    receiver_logit: Tensor | None,
    rating_logit: Tensor | None,
    shift: Tensor,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor | None,
    level: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    weight: float,
    columns: int,
    slope: float,
    to_users: bool,
    kinds: int,
) -> tuple[Tensor, Tensor]:
    tables = value, second, sender_logit, receiver_logit, rating_logit, shift
    edges = pointer, entry, factor, level, (column_pointer, row, order), columns
    return tuple(_KERNELS[value.device.type].sums(tables, edges, weight, slope, to_users, kinds))


@operator("gnnrec::attention_gradients")
def _gradients(
    numerator: Tensor,
    sums: Tensor,
    value: Tensor,
    second: Tensor | None,
    sender_logit: Tensor,
    receiver_logit: Tensor | None,
    rating_logit: Tensor | None,
    shift: Tensor,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor | None,
    level: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    weight: float,
    columns: int,
    slope: float,
    to_users: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    tables = value, second, sender_logit, receiver_logit, rating_logit, shift
    edges = pointer, entry, factor, level, (column_pointer, row, order), columns
    gradients = _KERNELS[value.device.type].gradients((numerator, sums), tables, edges, weight, slope, to_users)
    # Operators cannot return None.
    return tuple(sums.new_empty(0) if table is None else gradient for gradient, table in zip(gradients, tables[:5]))


@_largest.dispatched.register_fake
def _(sender_logit, rating_logit, pointer, *others):
    *_, columns, to_users = others
    return sender_logit.new_empty(pointer.shape[0] - 1 if to_users else columns, sender_logit.shape[1])


@_forward.dispatched.register_fake
def _(value, second, sender_logit, receiver_logit, rating_logit, shift, *others):
    (receivers, heads), kinds = shift.shape, others[-1]
    return shift.new_empty(receivers, value.shape[1]), shift.new_empty(receivers, heads, kinds)


@_gradients.dispatched.register_fake
def _(numerator, sums, value, second, sender_logit, receiver_logit, rating_logit, *others):
    tables = value, second, sender_logit, receiver_logit, rating_logit
    return tuple(sums.new_empty(0 if table is None else table.shape) for table in tables)


def _keep(ctx, inputs, output) -> None:
    *tensors, ctx.weight, ctx.columns, ctx.slope, ctx.to_users, _ = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, numerator: Tensor, sums: Tensor):
    tensors = ctx.saved_tensors
    options = ctx.weight, ctx.columns, ctx.slope, ctx.to_users
    gradients = _gradients.dispatched(numerator.contiguous(), sums.contiguous(), *tensors, *options)
    pairs = zip(gradients, tensors[:5])
    return *[None if table is None else gradient.to(table.dtype) for gradient, table in pairs], *[None] * 13


_forward.dispatched.register_autograd(_backward, setup_context=_keep)
