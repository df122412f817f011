"""Reference implementation of :mod:`gnnrec.kernels.sorting` in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.ragged import owners


def sort_within(pointer: Tensor, key: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.sorting.sort_within`."""
    by_key = torch.argsort(key, stable=True)
    return by_key[torch.argsort(owners(pointer)[by_key], stable=True)]
