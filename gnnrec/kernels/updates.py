"""Changes of weights and gradients in place around an optimizer step; few kernels for many tensors on GPUs."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import dispatch, updates_reference

_KERNELS = dispatch.KernelTable("updates", updates_reference)


def add_row_penalties(gradients: list[Tensor], tables: list[Tensor], strengths: list[Tensor]) -> None:
    """Adds ``2 * strength_row * row`` to the gradient of each table.

    Args:
        gradients: Float ``[rows]`` or ``[rows, width]`` each; changed.
        tables: Of the same shapes.
        strengths: Float ``[rows]`` or ``[rows, 1]`` each.
    """
    if gradients:
        _KERNELS[gradients[0].device.type].add_row_penalties(gradients, tables, strengths)


def keep_norms(weights: list[Tensor], squares: list[int]) -> None:
    """Scales weights to norms.

    Args:
        weights: Float tensors; changed.
        squares: Squared norm of each.
    """
    if weights:
        _KERNELS[weights[0].device.type].keep_norms(weights, squares)
