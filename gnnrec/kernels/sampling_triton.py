"""Triton implementation of :mod:`gnnrec.kernels.sampling`: a program of the kernel that draws has some slots."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels import sampling_reference
from gnnrec.kernels.neighbor_lists import NeighborLists
from gnnrec.kernels.picking_triton import pick
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.random_triton import integers

__all__ = ["draw", "draw_slots", "pick"]

#: Slots of a program.
_BLOCK = 256
_WARPS = 4


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw`."""
    if fan_out < 0:  # copies lists, draws nothing
        return sampling_reference.draw(stream, ids, degree, fan_out)
    pointer = offsets(degree.clamp(max=fan_out))
    node, position = (torch.empty(int(pointer[-1]), dtype=torch.int64, device=ids.device) for _ in range(2))
    slots = ids.numel() * fan_out
    if slots:
        arguments = ids.contiguous(), degree.contiguous(), pointer, node, position, slots, fan_out, _BLOCK
        with torch.cuda.device_of(ids):
            _draw[(triton.cdiv(slots, _BLOCK),)](stream, *arguments, num_warps=_WARPS)
    return node, position


def draw_slots(
    stream: int, nodes: Tensor, first: int, lists: NeighborLists, fan_out: int, missing: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw_slots`."""
    slots = nodes.numel() * fan_out
    node, edge, neighbor = (torch.empty(slots, dtype=torch.int64, device=nodes.device) for _ in range(3))
    if slots:
        read = lists.degree, lists.pointer, lists.start, lists.neighbor, lists.edge
        with torch.cuda.device_of(nodes):
            _draw_slots[(triton.cdiv(slots, _BLOCK),)](
                stream,
                nodes.contiguous(),
                first,
                *read,
                node,
                edge,
                neighbor,
                slots,
                missing,
                fan_out,
                _BLOCK,
                num_warps=_WARPS,
            )
    return node, edge, neighbor


@triton.jit
def _position(stream, row, number, length, FAN_OUT: tl.constexpr):
    """Returns the position of draw ``number`` in the list of a node with this global row."""
    counter = row * (FAN_OUT + 1)
    first = number * length // FAN_OUT
    interval = (number + 1) * length // FAN_OUT - first
    drawn = first + integers(stream, counter + number, interval) + integers(stream, counter + FAN_OUT, length)
    drawn = tl.where(drawn >= length, drawn - length, drawn)
    return tl.where(length > FAN_OUT, drawn, number)


@triton.jit(do_not_specialize=["stream", "slots"])
def _draw(
    stream: tl.int64,
    ids,
    degree,
    pointer,
    node_out,
    position_out,
    slots: tl.int64,
    FAN_OUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < slots
    node, number = place // FAN_OUT, place % FAN_OUT
    length = tl.load(degree + node, mask=inside, other=0)
    position = _position(stream, tl.load(ids + node, mask=inside, other=0), number, length, FAN_OUT)
    full = inside & (number < length)
    place = tl.load(pointer + node, mask=full, other=0) + number
    tl.store(node_out + place, node, mask=full)
    tl.store(position_out + place, position, mask=full)


@triton.jit(do_not_specialize=["stream", "first", "slots", "missing"])
def _draw_slots(
    stream: tl.int64,
    nodes,
    first: tl.int64,
    degree,
    pointer,
    start,
    neighbor,
    edge,
    node_out,
    edge_out,
    neighbor_out,
    slots: tl.int64,
    missing: tl.int64,
    FAN_OUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < slots
    number = place % FAN_OUT
    row = tl.load(nodes + place // FAN_OUT, mask=inside, other=0)
    length = tl.load(degree + row, mask=inside, other=0)
    position = _position(stream, row + first, number, length, FAN_OUT)
    if start is not None:
        position -= tl.load(start + row, mask=inside, other=0)
    begin = tl.load(pointer + row, mask=inside, other=0)
    end = tl.load(pointer + row + 1, mask=inside, other=0)
    own = begin + position
    full = inside & (number < length) & (position >= 0) & (own < end)
    chosen = own
    if edge is not None:
        chosen = tl.load(edge + own, mask=full, other=0).to(tl.int64)
    other = tl.load(neighbor + own, mask=full, other=0).to(tl.int64)
    tl.store(node_out + place, row, mask=inside)
    tl.store(edge_out + place, tl.where(full, chosen, -1), mask=inside)
    tl.store(neighbor_out + place, tl.where(full, other, missing), mask=inside)
