"""CPU implementation of :mod:`gnnrec.kernels.sorting`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.ragged import index_dtype
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, run_compiled


@compiled
def _sort_within(pointer, key, first, last, out):
    for row in range(first, last):
        begin, end = pointer[row], pointer[row + 1]
        # Sorting keys together with positions makes an unstable sort stable.
        packed = (key[begin:end].astype(np.int64) << 32) | np.arange(end - begin)
        packed.sort()
        for place in range(end - begin):
            out[begin + place] = begin + (packed[place] & 0xFFFFFFFF)


def sort_within(pointer: Tensor, key: Tensor) -> Tensor:
    """See :func:`gnnrec.kernels.sorting.sort_within`; keys must fit into 32 bits."""
    out = torch.empty(key.numel(), dtype=index_dtype(key.numel()))
    run_compiled(_sort_within, balanced_ranges(array(pointer), num_workers(key.numel())), [pointer, key], [out])
    return out
