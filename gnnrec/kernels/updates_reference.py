"""Reference implementation of :mod:`gnnrec.kernels.updates` in plain torch."""

from __future__ import annotations

from torch import Tensor


def add_row_penalties(gradients: list[Tensor], tables: list[Tensor], strengths: list[Tensor]) -> None:
    """See :func:`gnnrec.kernels.updates.add_row_penalties`."""
    for gradient, table, strength in zip(gradients, tables, strengths):
        gradient.addcmul_(table, strength, value=2)


def keep_norms(weights: list[Tensor], squares: list[int]) -> None:
    """See :func:`gnnrec.kernels.updates.keep_norms`."""
    for weight, square in zip(weights, squares):
        weight.mul_(square**0.5 / weight.norm())
