"""Triton implementation of :mod:`gnnrec.kernels.sampling`.

One kernel draws: a program has the slots of some nodes. Messages are sorted by list with torch's stable sort, between
a kernel that finds them and one that reads them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels import sampling_reference
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.random_triton import integers

#: Slots or draws of a program.
_BLOCK = 512
_WARPS = 4


def draw(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw`."""
    if fan_out < 0:  # copies lists, draws nothing
        return sampling_reference.draw(stream, ids, degree, fan_out)
    pointer = offsets(degree.clamp(max=fan_out))
    return _draw_into(stream, ids, degree, fan_out, pointer, int(pointer[-1]))


def draw_slots(stream: int, ids: Tensor, degree: Tensor, fan_out: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling.draw_slots`."""
    return _draw_into(stream, ids, degree, fan_out, None, ids.numel() * fan_out)


def _draw_into(
    stream: int, ids: Tensor, degree: Tensor, fan_out: int, pointer: Tensor | None, size: int
) -> tuple[Tensor, Tensor]:
    """Draws into ``size`` places: one for each slot if the pointer is None, and otherwise from the start of a node."""
    node, position = (torch.empty(size, dtype=torch.int64, device=ids.device) for _ in range(2))
    slots = ids.numel() * fan_out
    if slots:
        with torch.cuda.device_of(ids):
            _draw[(triton.cdiv(slots, _BLOCK),)](
                stream,
                ids.contiguous(),
                degree.contiguous(),
                pointer,
                node,
                position,
                slots,
                fan_out,
                _BLOCK,
                num_warps=_WARPS,
            )
    return node, position


def find(row: Tensor, edge: Tensor, slot: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling_reference.find`."""
    owner, message = (torch.empty(edge.numel(), dtype=torch.int32, device=edge.device) for _ in range(2))
    if edge.numel():
        row, edge = row.contiguous(), edge.contiguous()
        with torch.cuda.device_of(edge):
            _find[(triton.cdiv(edge.numel(), _BLOCK),)](
                row, edge, slot, owner, message, rows, edge.numel(), _BLOCK, num_warps=_WARPS
            )
    owner, order = torch.sort(owner, stable=True)
    return torch.searchsorted(owner, torch.arange(rows + 1, dtype=torch.int32, device=edge.device)), order, message


def take(
    order: Tensor, message: Tensor, count: int, movie: Tensor, residual: Tensor, level: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.sampling_reference.take`."""
    out = movie.new_empty(count), residual.new_empty(count), level.new_empty(count)
    if count:
        with torch.cuda.device_of(movie):
            _take[(triton.cdiv(count, _BLOCK),)](
                order, message, movie, residual, level, *out, count, _BLOCK, num_warps=_WARPS
            )
    return out


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
    counter = tl.load(ids + node, mask=inside, other=0) * (FAN_OUT + 1)
    first = number * length // FAN_OUT
    interval = (number + 1) * length // FAN_OUT - first
    drawn = first + integers(stream, counter + number, interval) + integers(stream, counter + FAN_OUT, length)
    drawn = tl.where(drawn >= length, drawn - length, drawn)
    position = tl.where(length > FAN_OUT, drawn, number)
    full = number < length
    if pointer is None:
        position = tl.where(full, position, -1)
    else:
        inside = inside & full
        place = tl.load(pointer + node, mask=inside, other=0) + number
    tl.store(node_out + place, node, mask=inside)
    tl.store(position_out + place, position, mask=inside)


@triton.jit(do_not_specialize=["rows", "draws"])
def _find(row, edge, slot, owner_out, message_out, rows: tl.int32, draws: tl.int64, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < draws
    chosen = tl.load(edge + place, mask=inside, other=-1)
    message = tl.load(slot + chosen, mask=chosen >= 0, other=-1)
    own = tl.load(row + place, mask=inside, other=0).to(tl.int32)
    tl.store(owner_out + place, tl.where(message >= 0, own, rows), mask=inside)
    tl.store(message_out + place, message, mask=inside)


@triton.jit(do_not_specialize=["count"])
def _take(
    order,
    message,
    movie,
    residual,
    level,
    movie_out,
    residual_out,
    level_out,
    count: tl.int64,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    at = tl.load(order + place, mask=inside, other=0)
    chosen = tl.load(message + at, mask=inside, other=0)
    tl.store(movie_out + place, tl.load(movie + chosen, mask=inside, other=0), mask=inside)
    tl.store(residual_out + place, tl.load(residual + chosen, mask=inside, other=0), mask=inside)
    tl.store(level_out + place, tl.load(level + chosen, mask=inside, other=0), mask=inside)
