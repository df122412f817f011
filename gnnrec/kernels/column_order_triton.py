"""Triton implementation of :mod:`gnnrec.kernels.column_order`.

A program has a block of edges by column. The first kernel counts the entries in each block, the second writes them
after those of the blocks before, and the third counts those before the start of each column.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.ragged import offsets

#: Edges of a program.
_BLOCK = 1024
_WARPS = 4


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, entries: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.column_order.select_by_column`."""
    device, edges = slot.device, order.numel()
    selected = torch.empty(entries, dtype=torch.int32, device=device)
    entry = torch.empty(entries, dtype=torch.int64, device=device)
    if not edges:
        return torch.zeros_like(pointer), selected, entry
    blocks, starts = triton.cdiv(edges, _BLOCK), torch.empty_like(pointer)
    counts = torch.empty(blocks, dtype=torch.int32, device=device)
    with torch.cuda.device_of(slot):
        _count[(blocks,)](order, slot, counts, edges, _BLOCK, num_warps=_WARPS)
        before = offsets(counts)
        _select[(blocks,)](row, order, slot, before, selected, entry, edges, _BLOCK, num_warps=_WARPS)
        _starts[(pointer.numel(),)](pointer, order, slot, before, starts, _BLOCK, num_warps=_WARPS)
    return starts, selected, entry


@triton.jit
def _entries(order, slot, block, edges, BLOCK: tl.constexpr):
    """Returns the edges of a block and their entries, -1 for none and after the first ``edges`` edges."""
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < edges
    at = tl.load(order + place, mask=inside, other=0)
    return place, tl.load(slot + at, mask=inside, other=-1)


@triton.jit(do_not_specialize=["edges"])
def _count(order, slot, counts, edges: tl.int64, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    _, entry = _entries(order, slot, block, edges, BLOCK)
    tl.store(counts + block, tl.sum((entry >= 0).to(tl.int32), 0))


@triton.jit(do_not_specialize=["edges"])
def _select(row, order, slot, before, row_out, entry_out, edges: tl.int64, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    place, entry = _entries(order, slot, block, edges, BLOCK)
    kept = entry >= 0
    target = tl.load(before + block) + tl.cumsum(kept.to(tl.int32), 0) - 1
    tl.store(row_out + target, tl.load(row + place, mask=kept, other=0), mask=kept)
    tl.store(entry_out + target, entry, mask=kept)


@triton.jit
def _starts(pointer, order, slot, before, starts, BLOCK: tl.constexpr):
    column = tl.program_id(0)
    start = tl.load(pointer + column)
    # After the last edge, this may be a block without edges.
    block = start // BLOCK
    _, entry = _entries(order, slot, block, start, BLOCK)
    tl.store(starts + column, tl.load(before + block) + tl.sum((entry >= 0).to(tl.int64), 0))
