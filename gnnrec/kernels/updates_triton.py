"""Triton implementation of :mod:`gnnrec.kernels.updates`: a launch changes up to four tensors."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels import updates_reference

#: Tensors of a launch.
_TENSORS = 4
#: Numbers of a program.
_BLOCK = 1024
_WARPS = 4


def add_row_penalties(gradients: list[Tensor], tables: list[Tensor], strengths: list[Tensor]) -> None:
    """See :func:`gnnrec.kernels.updates.add_row_penalties`."""
    terms = [term for term in zip(gradients, tables, strengths) if term[0].numel()]
    whole = [all(tensor.is_contiguous() for tensor in term) for term in terms]
    for term in [term for term, dense in zip(terms, whole) if not dense]:
        updates_reference.add_row_penalties(*([tensor] for tensor in term))
    # Large tables have a launch together, so that few programs are without work.
    terms = sorted((term for term, dense in zip(terms, whole) if dense), key=lambda term: -term[0].numel())
    for first in range(0, len(terms), _TENSORS):
        some = terms[first : first + _TENSORS]
        blocks, missing = triton.cdiv(some[0][0].numel(), _BLOCK), [None] * (_TENSORS - len(some))
        tensors = [[*parts, *missing] for parts in zip(*some)]
        widths = [gradient.numel() // strength.numel() for gradient, _, strength in some]
        sizes = [*(gradient.numel() for gradient, _, _ in some), *(0 for _ in missing)]
        widths += [1] * len(missing)
        with torch.cuda.device_of(some[0][0]):
            _add_penalties[(blocks, len(some))](
                *tensors[0], *tensors[1], *tensors[2], *sizes, *widths, _BLOCK, num_warps=_WARPS
            )


def keep_norms(weights: list[Tensor], squares: list[int]) -> None:
    """See :func:`gnnrec.kernels.updates.keep_norms`."""
    for first in range(0, len(weights), _TENSORS):
        some, targets = weights[first : first + _TENSORS], squares[first : first + _TENSORS]
        missing = [None] * (_TENSORS - len(some))
        sizes, targets = (
            [*(weight.numel() for weight in some), *(0 for _ in missing)],
            [*targets, *(0 for _ in missing)],
        )
        with torch.cuda.device_of(some[0]):
            _scale_to_norms[(len(some),)](*some, *missing, *sizes, *targets, _BLOCK, num_warps=_WARPS)


@triton.jit
def _add_penalty(gradient, table, strength, size, width, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    rate = tl.load(strength + place // width, mask=inside, other=0)
    own = tl.load(gradient + place, mask=inside, other=0)
    value = tl.load(table + place, mask=inside, other=0)
    tl.store(gradient + place, own + 2 * (value * rate), mask=inside)


@triton.jit(do_not_specialize=["size_0", "size_1", "size_2", "size_3", "width_0", "width_1", "width_2", "width_3"])
def _add_penalties(
    gradient_0,
    gradient_1,
    gradient_2,
    gradient_3,
    table_0,
    table_1,
    table_2,
    table_3,
    strength_0,
    strength_1,
    strength_2,
    strength_3,
    size_0: tl.int64,
    size_1: tl.int64,
    size_2: tl.int64,
    size_3: tl.int64,
    width_0: tl.int32,
    width_1: tl.int32,
    width_2: tl.int32,
    width_3: tl.int32,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(1)
    if number == 0:
        _add_penalty(gradient_0, table_0, strength_0, size_0, width_0, BLOCK)
    if gradient_1 is not None:
        if number == 1:
            _add_penalty(gradient_1, table_1, strength_1, size_1, width_1, BLOCK)
    if gradient_2 is not None:
        if number == 2:
            _add_penalty(gradient_2, table_2, strength_2, size_2, width_2, BLOCK)
    if gradient_3 is not None:
        if number == 3:
            _add_penalty(gradient_3, table_3, strength_3, size_3, width_3, BLOCK)


@triton.jit
def _scale_to_norm(weight, size, square, BLOCK: tl.constexpr):
    total = tl.zeros([BLOCK], weight.dtype.element_ty)
    for start in range(0, size, BLOCK):
        place = start + tl.arange(0, BLOCK)
        value = tl.load(weight + place, mask=place < size, other=0)
        total += value * value
    factor = tl.sqrt(square.to(total.dtype) / tl.sum(total, 0))
    for start in range(0, size, BLOCK):
        place = start + tl.arange(0, BLOCK)
        value = tl.load(weight + place, mask=place < size, other=0)
        tl.store(weight + place, value * factor, mask=place < size)


@triton.jit(do_not_specialize=["size_0", "size_1", "size_2", "size_3", "square_0", "square_1", "square_2", "square_3"])
def _scale_to_norms(
    weight_0,
    weight_1,
    weight_2,
    weight_3,
    size_0: tl.int32,
    size_1: tl.int32,
    size_2: tl.int32,
    size_3: tl.int32,
    square_0: tl.int32,
    square_1: tl.int32,
    square_2: tl.int32,
    square_3: tl.int32,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(0)
    if number == 0:
        _scale_to_norm(weight_0, size_0, square_0, BLOCK)
    if weight_1 is not None:
        if number == 1:
            _scale_to_norm(weight_1, size_1, square_1, BLOCK)
    if weight_2 is not None:
        if number == 2:
            _scale_to_norm(weight_2, size_2, square_2, BLOCK)
    if weight_3 is not None:
        if number == 3:
            _scale_to_norm(weight_3, size_3, square_3, BLOCK)
