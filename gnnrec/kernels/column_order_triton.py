"""Triton implementation of :mod:`gnnrec.kernels.column_order`.

A program has a block of edges by column. The first kernel counts the messages and the targets in each block, the second
writes them after those of the blocks before, and the third counts those before the start of each column.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.lists import ByColumn

#: Edges of a program.
_BLOCK = 512
_WARPS = 4


def select_by_column(
    pointer: Tensor, row: Tensor, order: Tensor, slot: Tensor, sizes: tuple[int, int]
) -> tuple[ByColumn, ByColumn]:
    """See :func:`gnnrec.kernels.column_order.select_by_column`."""
    device, edges = slot.device, order.numel()
    messages, targets = (
        (
            torch.empty_like(pointer),
            torch.empty(size, dtype=torch.int32, device=device),
            torch.empty(size, dtype=torch.int32, device=device),
        )
        for size in sizes
    )
    if not edges:
        return (torch.zeros_like(pointer), *messages[1:]), (torch.zeros_like(pointer), *targets[1:])
    blocks = triton.cdiv(edges, _BLOCK)
    # Messages of each block, then targets of each block; sums of those before make places of both.
    before = torch.empty(2 * blocks + 1, dtype=torch.int64, device=device)
    with torch.cuda.device_of(slot):
        _count[(blocks,)](order, slot, before, edges, blocks, _BLOCK, num_warps=_WARPS)
        before.cumsum_(0)
        _select[(blocks,)](
            row, order, slot, before, *messages[1:], *targets[1:], edges, blocks, sizes[0], _BLOCK, num_warps=_WARPS
        )
        _starts[(pointer.numel(),)](
            pointer, order, slot, before, messages[0], targets[0], blocks, sizes[0], _BLOCK, num_warps=_WARPS
        )
    return messages, targets


@triton.jit
def _slots(order, slot, block, edges, BLOCK: tl.constexpr):
    """Returns the edges of a block and their slots, -1 for none and after the first ``edges`` edges."""
    place = block.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < edges
    at = tl.load(order + place, mask=inside, other=0)
    return place, tl.load(slot + at, mask=inside, other=-1)


@triton.jit(do_not_specialize=["edges", "blocks"])
def _count(order, slot, counts, edges: tl.int64, blocks: tl.int64, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    _, own = _slots(order, slot, block, edges, BLOCK)
    tl.store(counts, 0, mask=block == 0)
    tl.store(counts + 1 + block, tl.sum((own >= 0).to(tl.int64), 0))
    tl.store(counts + 1 + blocks + block, tl.sum((own < -1).to(tl.int64), 0))


@triton.jit(do_not_specialize=["edges", "blocks", "messages"])
def _select(
    row,
    order,
    slot,
    before,
    message_row,
    message_out,
    target_row,
    target_out,
    edges: tl.int64,
    blocks: tl.int64,
    messages: tl.int64,
    BLOCK: tl.constexpr,
):
    block = tl.program_id(0)
    place, own = _slots(order, slot, block, edges, BLOCK)
    sent, target = own >= 0, own < -1
    number = tl.load(row + place, mask=place < edges, other=0)
    out = tl.load(before + block) + tl.cumsum(sent.to(tl.int32), 0) - 1
    tl.store(message_row + out, number, mask=sent)
    tl.store(message_out + out, own, mask=sent)
    out = tl.load(before + blocks + block) - messages + tl.cumsum(target.to(tl.int32), 0) - 1
    tl.store(target_row + out, number, mask=target)
    tl.store(target_out + out, -2 - own, mask=target)


@triton.jit(do_not_specialize=["blocks", "messages"])
def _starts(
    pointer,
    order,
    slot,
    before,
    message_starts,
    target_starts,
    blocks: tl.int64,
    messages: tl.int64,
    BLOCK: tl.constexpr,
):
    column = tl.program_id(0)
    start = tl.load(pointer + column)
    # After the last edge, this may be a block without edges.
    block = start // BLOCK
    _, own = _slots(order, slot, block, start, BLOCK)
    tl.store(message_starts + column, tl.load(before + block) + tl.sum((own >= 0).to(tl.int64), 0))
    targets = tl.load(before + blocks + block) - messages + tl.sum((own < -1).to(tl.int64), 0)
    tl.store(target_starts + column, targets)
