"""Reference implementation of :mod:`gnnrec.kernels.feature_sums` in plain torch."""

from __future__ import annotations

from torch import Tensor


def add_features(tables: list[Tensor], membership: Tensor, features: list[Tensor]) -> list[Tensor]:
    """See :func:`gnnrec.kernels.feature_sums.add_features`."""
    return [table + membership @ rows for table, rows in zip(tables, features)]
