"""Factors of sums that follow from degrees, without gradients; one kernel each on GPUs."""

from __future__ import annotations

from torch import Tensor

from gnnrec.kernels import degrees_reference, dispatch

_KERNELS = dispatch.KernelTable("degrees", degrees_reference)


def mean_scale(total: Tensor, degree: Tensor | None) -> Tensor:
    """Computes ``1 / max(total, 1)``, times ``sqrt(degree)`` if degrees are given.

    Args:
        total: Weight of the messages of each receiver, float ``[receivers]``.
        degree: Message degrees, float ``[receivers]``, or None.
    """
    return _KERNELS[total.device.type].mean_scale(total, degree)


def inverse_root(degree: Tensor, added: int) -> Tensor:
    """Computes ``1 / sqrt(degree + added)``, and 0 where that sum is 0.

    Args:
        degree: Message degrees, float ``[n]``.
        added: 0, or 1 for self-loops.
    """
    return _KERNELS[degree.device.type].inverse_root(degree, added)
