"""Sums of feature rows, such as those of a movie's genres, added to tables; one kernel for all tables on GPUs."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, feature_sums_reference
from gnnrec.kernels.operators import operator

_KERNELS = dispatch.KernelTable("feature_sums", feature_sums_reference)


def add_features(tables: list[Tensor], membership: Tensor, features: list[Tensor]) -> list[Tensor]:
    """Computes ``table + membership @ features`` for each table.

    Args:
        tables: Float ``[rows]`` or ``[rows, width]`` each; differentiable.
        membership: Weight of each feature of a row, float ``[rows, features]``.
        features: Float ``[features]`` or ``[features, width]`` each; differentiable.
    """
    if membership.device.type == "cpu":
        return [table + membership @ rows for table, rows in zip(tables, features)]
    return _add_features(tables, membership, features)


@operator("gnnrec::add_features")
def _add_features(tables: list[Tensor], membership: Tensor, features: list[Tensor]) -> list[Tensor]:
    return _KERNELS[membership.device.type].add_features(tables, membership, features)


@_add_features.dispatched.register_fake
def _(tables, membership, features):
    return [torch.empty_like(table) for table in tables]


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])


def _backward(ctx, gradients: list[Tensor]):
    (membership,) = ctx.saved_tensors
    return list(gradients), None, [membership.T @ gradient for gradient in gradients]


_add_features.dispatched.register_autograd(_backward, setup_context=_keep)
