"""Triton implementation of the list arithmetic of :mod:`gnnrec.kernels.ragged`: one kernel a call."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import Reading, own_chunk

#: Entries or columns of a program.
_BLOCK = 512
_WARPS = 4
#: Entries that a program of a list writes at a time.
_ROWS = 128


def owners(pointer: Tensor, dtype: torch.dtype, entries: int | None) -> Tensor:
    """See :func:`gnnrec.kernels.ragged.owners`."""
    entries = int(pointer[-1]) if entries is None else entries
    out = torch.empty(entries, dtype=dtype, device=pointer.device)
    reading = Reading(pointer, out, None)
    lists, extras = reading.lists, reading.extras
    if entries:
        with torch.cuda.device_of(out):
            _write_owners[(lists + extras,)](pointer, out, lists, extras, reading.chunk, _ROWS, num_warps=1)
    return out


def starts_and_rows(column: Tensor, order: Tensor, owner: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.ragged.starts_and_rows`."""
    entries = column.numel()
    starts = torch.empty(columns + 1, dtype=torch.int64, device=column.device)
    row = torch.empty_like(owner)
    tiles = triton.cdiv(entries, _BLOCK)
    with torch.cuda.device_of(column):
        _starts_and_rows[(tiles + triton.cdiv(columns + 1, _BLOCK),)](
            column, order, owner, starts, row, entries, columns + 1, tiles, _BLOCK, num_warps=_WARPS
        )
    return starts, row


@triton.jit(do_not_specialize=["lists", "extras"])
def _write_owners(pointer, out, lists, extras, CHUNK: tl.constexpr, ROWS: tl.constexpr):
    owner, begin, end, _ = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        tl.store(out + place, (place * 0 + owner).to(out.dtype.element_ty), mask=place < end)


@triton.jit(do_not_specialize=["entries", "starts_count", "tiles"])
def _starts_and_rows(
    column,
    order,
    owner,
    starts,
    row,
    entries: tl.int64,
    starts_count: tl.int64,
    tiles: tl.int64,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    if number < tiles:
        place = number * BLOCK + tl.arange(0, BLOCK)
        inside = place < entries
        at = tl.load(order + place, mask=inside, other=0)
        tl.store(row + place, tl.load(owner + at, mask=inside, other=0), mask=inside)
    else:
        wanted = (number - tiles) * BLOCK + tl.arange(0, BLOCK)
        inside = wanted < starts_count
        # The first place whose column is not below the wanted one is in [low, low + left].
        low = wanted * 0
        left = entries
        while left > 0:
            half = left // 2
            read = tl.load(column + low + half, mask=inside & (low + half < entries), other=2147483647).to(tl.int64)
            low = tl.where(read < wanted, low + half + 1, low)
            left = half
        tl.store(starts + wanted, low, mask=inside)
