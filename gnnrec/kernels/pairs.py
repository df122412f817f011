"""Scores of the (row, column) pairs of ragged lists, as a torch operator."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, pairs_reference
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("pairs", pairs_reference)


def pair_scores(rows: Tensor, columns: Tensor, row_bias: Tensor, column_bias: Tensor, lists: CSRLists) -> Tensor:
    """Computes ``out[e] = rows[i] . columns[entry[e]] + row_bias[i] + column_bias[entry[e]]`` for ``e`` in list ``i``.

    Args:
        rows: Float ``[rows, width]``; differentiable, like the next three.
        columns: ``[columns, width]``.
        row_bias: ``[rows]``.
        column_bias: ``[columns]``.
        lists: The pairs; factors and scales are ignored.

    Returns:
        ``[entries]``, float64 if any input is, otherwise float32.
    """
    inputs = rows, columns, row_bias, column_bias
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in inputs) else torch.float32
    rows, columns, row_bias, column_bias = (tensor.to(dtype) for tensor in inputs)
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    # Only gradients of columns read it, on GPUs.
    by_column = lists.by_column if recorded and lists.entry.device.type != "cpu" else (None, None, None)
    return _scores(rows, columns, row_bias, column_bias, lists.pointer, lists.entry, *by_column)


def pair_dots(rows: Tensor, columns: Tensor, pointer: Tensor, entry: Tensor) -> Tensor:
    """Computes :func:`pair_scores` without biases: ``out[e] = rows[i] . columns[entry[e]]`` for ``e`` in list ``i``."""
    lists = CSRLists(pointer, entry, len(columns))
    return pair_scores(rows, columns, rows.new_zeros(len(rows)), columns.new_zeros(len(columns)), lists)


@operator("gnnrec::pair_scores")
def _scores(
    rows: Tensor,
    columns: Tensor,
    row_bias: Tensor,
    column_bias: Tensor,
    pointer: Tensor,
    entry: Tensor,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
) -> Tensor:
    return _KERNELS[rows.device.type].scores(rows, columns, row_bias, column_bias, pointer, entry)


@operator("gnnrec::pair_gradients")
def _gradients(
    gradient: Tensor,
    rows: Tensor,
    columns: Tensor,
    pointer: Tensor,
    entry: Tensor,
    column_pointer: Tensor | None,
    row: Tensor | None,
    order: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    by_column = [column_pointer, row, order]
    return tuple(_KERNELS[rows.device.type].gradients(gradient, rows, columns, pointer, entry, by_column))


@_scores.dispatched.register_fake
def _(rows, columns, row_bias, column_bias, pointer, entry, *by_column):
    return rows.new_empty(entry.shape[0])


@_gradients.dispatched.register_fake
def _(gradient, rows, columns, *lists):
    return (
        torch.empty_like(rows),
        torch.empty_like(columns),
        rows.new_empty(rows.shape[0]),
        rows.new_empty(columns.shape[0]),
    )


def _keep(ctx, inputs, output) -> None:
    rows, columns, _, _, *lists = inputs
    ctx.save_for_backward(rows, columns, *lists)


def _backward(ctx, gradient: Tensor):
    return *_gradients.dispatched(gradient.contiguous(), *ctx.saved_tensors), *[None] * 5


_scores.dispatched.register_autograd(_backward, setup_context=_keep)
