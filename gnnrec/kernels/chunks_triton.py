"""Chunks of ragged lists for Triton kernels, one chunk per program.

Each list has a program for its first ``CHUNK`` entries; further programs process the rest of long lists. Their largest
possible number follows from shapes, so the host never waits for the device.
"""

from __future__ import annotations

import dataclasses

import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.lists import CSRLists

#: Most entries of one program.
CHUNK = 512
#: Most columns of a program's tile of a table.
WIDEST = 256
#: Floats of a table that one program reads at a time: 32 per thread of a warp.
_READ = 1024


@dataclasses.dataclass
class Reading:
    """Arguments of a kernel that reads lists.

    Attributes:
        pointer: Start of each list, int64 ``[lists + 1]``.
        entry: Table row that each entry reads, int32 ``[entries]``.
        factor: float ``[entries]``; None if no sum is scaled.
        order: Position of the factor of each entry, int32 or int64 ``[entries]``; None for the entry's own position.
    """

    pointer: Tensor
    entry: Tensor
    factor: Tensor | None
    order: Tensor | None = None

    @property
    def lists(self) -> int:
        return self.pointer.numel() - 1

    @property
    def chunk(self) -> int:
        """Most entries of a chunk."""
        return CHUNK

    @property
    def extras(self) -> int:
        """Upper bound on the chunks after the first chunks of lists."""
        return self.entry.numel() // CHUNK


def read_by_column(
    pointer: Tensor, entry: Tensor, factor: Tensor | None, by_column: list[Tensor | None], columns: int
) -> Reading:
    """Sorts the lists by column, except factors."""
    if by_column[0] is None:
        by_column = CSRLists(pointer, entry, columns).by_column
    column_pointer, row, order = by_column
    return Reading(column_pointer, row, factor, order)


def tiles(width: int) -> tuple[int, int]:
    """Returns the rows and columns that a program reads at a time; Triton requires powers of two."""
    columns = max(16, triton.next_power_of_2(width))
    return max(1, _READ // columns), columns


def column_blocks(width: int) -> int:
    """Returns the number of programs that share the columns of a chunk, each with a tile of at most 256 columns.

    A wider tile, such as a row over all movies, does not fit into the registers of a warp and compiles for minutes.
    """
    return triton.cdiv(width, WIDEST)


@triton.jit
def own_chunk(number, pointer, lists, extras, CHUNK: tl.constexpr):
    """Returns a program's list, the begin and end of its chunk, and the row that it writes.

    Chunks after the first come first, because long lists take longest. Programs past the last one get an empty chunk.
    List ``i`` has ``pointer[i + 1] // CHUNK - pointer[i] // CHUNK`` chunks after its first. They hold all of its
    entries, the last may be empty, and no sum over lists is needed.
    """
    if number < extras:
        low = (lists * 0).to(tl.int64)
        high = lists.to(tl.int64)
        # pointer[low] // CHUNK <= number < pointer[high] // CHUNK, or high == lists
        while high - low > 1:
            middle = (low + high) // 2
            before = tl.load(pointer + middle) // CHUNK <= number
            low = tl.where(before, middle, low)
            high = tl.where(before, high, middle)
        owner = low
        first = tl.load(pointer + owner)
        begin = first + (number - first // CHUNK + 1) * CHUNK
        target = (lists + number).to(tl.int64)
    else:
        owner = (number - extras).to(tl.int64)
        begin = tl.load(pointer + owner)
        target = owner
    end = tl.minimum(begin + CHUNK, tl.load(pointer + owner + 1))
    return owner, begin, end, target


@triton.jit
def add_rows(table, owner, first, last, block, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Computes ``table[owner] += table[first:last].sum(0)`` for one block of columns."""
    columns = block * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], table.dtype.element_ty)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < last)[:, None] & (columns < WIDTH)[None, :]
        total += tl.load(table + row[:, None] * WIDTH + columns[None, :], mask=mask, other=0)
    address = table + owner * WIDTH + columns
    kept = tl.load(address, mask=columns < WIDTH, other=0)
    tl.store(address, kept + tl.sum(total, 0), mask=columns < WIDTH)
