"""Triton implementation of :mod:`gnnrec.kernels.feature_sums`: a program has some rows of one table."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Tables of a launch.
_TABLES = 4
#: Numbers of a program, and its widest row.
_BLOCK, _WIDEST = 2048, 256
_WARPS = 4


def add_features(tables: list[Tensor], membership: Tensor, features: list[Tensor]) -> list[Tensor]:
    """See :func:`gnnrec.kernels.feature_sums.add_features`."""
    rows, count = membership.shape
    outs = [torch.empty_like(table, memory_format=torch.contiguous_format) for table in tables]
    if not rows:
        return outs
    for first in range(0, len(tables), _TABLES):
        some = slice(first, first + _TABLES)
        missing = [None] * (_TABLES - len(tables[some]))
        widths = [table[0].numel() for table in tables[some]]
        across = triton.next_power_of_2(min(max(*widths, 1), _WIDEST))
        own = [[one.contiguous() for one in parts[some]] + missing for parts in (tables, features)]
        together = max(1, _BLOCK // across)
        grid = triton.cdiv(rows, together), triton.cdiv(max(widths), across), len(widths)
        with torch.cuda.device_of(membership):
            _add_features[grid](
                *(*own[0], *own[1], *outs[some], *missing, *widths, *(0 for _ in missing)),
                *(membership.contiguous(), rows, count, together, across),
                num_warps=_WARPS,
            )
    return outs


@triton.jit
def _add(
    table, feature, out, width, membership, rows, FEATURES: tl.constexpr, ROWS: tl.constexpr, ACROSS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * ACROSS + tl.arange(0, ACROSS)
    place = row[:, None] * width + column[None, :]
    mask = (row < rows)[:, None] & (column < width)[None, :]
    total = tl.zeros([ROWS, ACROSS], out.dtype.element_ty)
    for number in range(FEATURES):
        share = tl.load(membership + row * FEATURES + number, mask=row < rows, other=0)
        own = tl.load(feature + number * width + column, mask=column < width, other=0)
        total += share[:, None] * own[None, :]
    tl.store(out + place, tl.load(table + place, mask=mask, other=0) + total, mask=mask)


@triton.jit(do_not_specialize=["width_0", "width_1", "width_2", "width_3", "rows"])
def _add_features(
    table_0,
    table_1,
    table_2,
    table_3,
    feature_0,
    feature_1,
    feature_2,
    feature_3,
    out_0,
    out_1,
    out_2,
    out_3,
    width_0: tl.int32,
    width_1: tl.int32,
    width_2: tl.int32,
    width_3: tl.int32,
    membership,
    rows: tl.int64,
    FEATURES: tl.constexpr,
    ROWS: tl.constexpr,
    ACROSS: tl.constexpr,
):
    number = tl.program_id(2)
    if number == 0:
        _add(table_0, feature_0, out_0, width_0, membership, rows, FEATURES, ROWS, ACROSS)
    if table_1 is not None:
        if number == 1:
            _add(table_1, feature_1, out_1, width_1, membership, rows, FEATURES, ROWS, ACROSS)
    if table_2 is not None:
        if number == 2:
            _add(table_2, feature_2, out_2, width_2, membership, rows, FEATURES, ROWS, ACROSS)
    if table_3 is not None:
        if number == 3:
            _add(table_3, feature_3, out_3, width_3, membership, rows, FEATURES, ROWS, ACROSS)
