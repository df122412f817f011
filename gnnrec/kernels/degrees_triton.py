"""Triton implementation of :mod:`gnnrec.kernels.degrees`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 512
_WARPS = 4


def mean_scale(total: Tensor, degree: Tensor | None) -> Tensor:
    """See :func:`gnnrec.kernels.degrees.mean_scale`."""
    return _run(total, degree, 0, mean=True)


def inverse_root(degree: Tensor, added: int) -> Tensor:
    """See :func:`gnnrec.kernels.degrees.inverse_root`."""
    return _run(degree, None, added, mean=False)


def _run(total: Tensor, degree: Tensor | None, added: int, mean: bool) -> Tensor:
    out = torch.empty_like(total, memory_format=torch.contiguous_format)
    count = out.numel()
    if count:
        read = total.contiguous(), None if degree is None else degree.contiguous()
        with torch.cuda.device_of(out):
            _factor[(triton.cdiv(count, _BLOCK),)](*read, out, count, added, mean, _BLOCK, num_warps=_WARPS)
    return out


@triton.jit(do_not_specialize=["count"])
def _factor(total, degree, out, count: tl.int64, ADDED: tl.constexpr, MEAN: tl.constexpr, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    own = tl.load(total + place, mask=inside, other=1)
    if MEAN:
        scale = 1 / tl.maximum(own, 1)
        if degree is not None:
            scale = tl.sqrt(tl.load(degree + place, mask=inside, other=0)) * scale
    else:
        own += ADDED
        scale = tl.where(own > 0, 1 / tl.sqrt(tl.where(own > 0, own, 1)), 0)
    tl.store(out + place, scale, mask=inside)
