"""Fused sums over ragged lists, as torch operators: the two directions of message passing.

``gather_sums`` is ``W @ value + F @ second`` for the sparse matrices W and F of :class:`gnnrec.kernels.lists.CSRLists`,
and ``scatter_sums`` the same with ``W.T`` and ``F.T``. Each is the other's derivative, in which the gradient is read
once for both tables. No tensor of entries x columns is allocated. Implementations are loops compiled by numba on CPUs,
Triton kernels on GPUs, and :mod:`gnnrec.kernels.sums_reference` in plain torch elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, sums_reference
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("sums", sums_reference)


def gather_sums(value: Tensor, second: Tensor | None, lists: CSRLists, narrow: bool = False) -> Tensor:
    """Computes ``out[i] = row_scale[i] * sum of weight * value[entry[e]] + factor[e] * second[entry[e]]``, e in list i.

    Args:
        value: float32, float64 or bfloat16 ``[columns, width]``; differentiable.
        second: Like ``value``, or None: entries are then weighted by ``factor`` if the lists have one.
        lists: The lists.
        narrow: Read the rows of the tables, and those of the gradient of the sums, in bfloat16.

    Returns:
        ``[rows, width]``, summed in float32 or float64.
    """
    recorded = torch.is_grad_enabled() and any(table is not None and table.requires_grad for table in (value, second))
    return _gather(value, second, *_tensors(lists, by_column=recorded), narrow)


def bag(values: Tensor, index: Tensor, pointer: Tensor, factor: Tensor | None = None) -> Tensor:
    """Sums ``factor[e] * values[index[e]]`` over consecutive lists: :func:`gather_sums` of one table.

    Args:
        values: Float ``[rows, width]``; differentiable.
        index: Rows, int32 ``[entries]``.
        pointer: Offsets of the lists, int64 ``[lists + 1]``.
        factor: Float ``[entries]``, or None for ones.
    """
    return gather_sums(values, None, CSRLists(pointer, index, len(values), factor))


def scatter_sums(value: Tensor, second: Tensor | None, lists: CSRLists, narrow: bool = False) -> Tensor:
    """Computes ``out[j] = sum over e with entry[e] == j: row_scale[i] * (weight * value[i] + factor[e] * second[i])``.

    ``i`` is the list that contains ``e``.

    Args:
        value: float32, float64 or bfloat16 ``[rows, width]``; differentiable.
        second: Like ``value``, or None: entries are then weighted by ``factor`` if the lists have one.
        lists: The lists.
        narrow: As in :func:`gather_sums`.

    Returns:
        ``[columns, width]``, summed in float32 or float64.
    """
    return _scatter(value, second, *_tensors(lists, by_column=True), narrow)


def _read(narrow: bool, *tables: Tensor | None) -> list[Tensor]:
    """Returns the tables that kernels read, without None: in bfloat16, or float64 numbers of 8 bits."""
    given = [table for table in tables if table is not None]
    if not narrow:
        return given
    rounded = [table.to(torch.bfloat16) for table in given]
    return [table.to(torch.float64) if old.dtype == torch.float64 else table for table, old in zip(rounded, given)]


def _tensors(lists: CSRLists, by_column: bool) -> tuple:
    """Returns the operators' arguments: the lists, and the lists sorted by column, which sums over columns need.

    These are scatters, and derivatives of gathers, on GPUs.
    """
    by_column = lists.by_column if by_column and lists.entry.device.type != "cpu" else (None, None, None)
    return lists.pointer, lists.entry, lists.factor, lists.row_scale, *by_column, lists.weight, lists.columns


@operator("gnnrec::gather_sums")
def _gather(
    value: Tensor,
    second: Tensor | None,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor | None,
    row_scale: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    weight: float,
    columns: int,
    narrow: bool,
) -> Tensor:
    tables = _read(narrow, value, second)
    return _KERNELS[value.device.type].gather(tables, [pointer, entry, factor, row_scale], weight)[0]


@operator("gnnrec::scatter_sums")
def _scatter(
    value: Tensor,
    second: Tensor | None,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor | None,
    row_scale: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    weight: float,
    columns: int,
    narrow: bool,
) -> Tensor:
    tables = _read(narrow, value, second)
    lists = [pointer, entry, factor, row_scale]
    return _KERNELS[value.device.type].scatter(tables, lists, [column_pointer, row, order], weight, columns)[0]


@operator("gnnrec::gather_pair")
def _gather_pair(
    gradient: Tensor,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor,
    row_scale: Tensor | None,
    weight: float,
    narrow: bool,
) -> tuple[Tensor, Tensor]:
    lists = [pointer, entry, factor, row_scale]
    return tuple(_KERNELS[gradient.device.type].gather(_read(narrow, gradient), lists, weight, pair=True))


@operator("gnnrec::scatter_pair")
def _scatter_pair(
    gradient: Tensor,
    pointer: Tensor,
    entry: Tensor,
    factor: Tensor,
    row_scale: Tensor | None,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
    weight: float,
    columns: int,
    narrow: bool,
) -> tuple[Tensor, Tensor]:
    kernels, lists, tables = (
        _KERNELS[gradient.device.type],
        [pointer, entry, factor, row_scale],
        _read(narrow, gradient),
    )
    return tuple(kernels.scatter(tables, lists, [column_pointer, row, order], weight, columns, pair=True))


@_gather.dispatched.register_fake
def _(value, second, pointer, *others):
    return value.new_empty(pointer.shape[0] - 1, value.shape[1], dtype=torch.promote_types(value.dtype, torch.float32))


@_scatter.dispatched.register_fake
def _(value, second, *others):
    return value.new_empty(others[-2], value.shape[1], dtype=torch.promote_types(value.dtype, torch.float32))


@_gather_pair.dispatched.register_fake
def _(gradient, pointer, *others):
    shape = pointer.shape[0] - 1, gradient.shape[1]
    return tuple(gradient.new_empty(shape, dtype=torch.promote_types(gradient.dtype, torch.float32)) for _ in range(2))


@_scatter_pair.dispatched.register_fake
def _(gradient, *others):
    shape = others[-2], gradient.shape[1]
    return tuple(gradient.new_empty(shape, dtype=torch.promote_types(gradient.dtype, torch.float32)) for _ in range(2))


def _keep(ctx, inputs, output) -> None:
    value, second, *lists, ctx.weight, ctx.columns, ctx.narrow = inputs
    ctx.dtypes = value.dtype, None if second is None else second.dtype
    ctx.save_for_backward(*lists)


def _gather_backward(ctx, gradient: Tensor):
    lists, gradient = ctx.saved_tensors, gradient.contiguous()
    if ctx.dtypes[1] is None:
        gradients = _scatter.dispatched(gradient, None, *lists, ctx.weight, ctx.columns, ctx.narrow), None
    else:
        gradients = _scatter_pair.dispatched(gradient, *lists, ctx.weight, ctx.columns, ctx.narrow)
    return *_cast(gradients, ctx.dtypes), *[None] * 10


def _scatter_backward(ctx, gradient: Tensor):
    lists, gradient = ctx.saved_tensors, gradient.contiguous()
    if ctx.dtypes[1] is None:
        gradients = _gather.dispatched(gradient, None, *lists, ctx.weight, ctx.columns, ctx.narrow), None
    else:
        gradients = _gather_pair.dispatched(gradient, *lists[:4], ctx.weight, ctx.narrow)
    return *_cast(gradients, ctx.dtypes), *[None] * 10


def _cast(gradients: tuple, dtypes: tuple) -> list[Tensor | None]:
    return [None if gradient is None else gradient.to(dtype) for gradient, dtype in zip(gradients, dtypes)]


_gather.dispatched.register_autograd(_gather_backward, setup_context=_keep)
_scatter.dispatched.register_autograd(_scatter_backward, setup_context=_keep)
