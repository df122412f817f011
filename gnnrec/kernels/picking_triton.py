"""Messages among two sets of drawn edges, sorted by list, for :mod:`gnnrec.kernels.sampling_triton`.

Both sets are sorted at once, by list and, when first asked for, by movie. Places of the second set follow those of the
first one, of which some at its end may be empty, so that they are aligned. Sorts are those of torch, which are stable;
their keys are those of both sets without a gap, so that no set has a place of the other one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.lists import ByColumn
from gnnrec.kernels.neighbor_lists import Picked

#: Draws or lists of a program.
_BLOCK = 512
_WARPS = 4
#: The second set starts at a multiple of it: of 16 bytes for each of the tensors.
_ALIGNED = 16


def pick(
    draws: list[tuple[Tensor, Tensor]],
    slot: Tensor,
    rows: int,
    columns: int,
    movie: Tensor,
    residual: Tensor,
    level: Tensor,
) -> list[Picked]:
    """See :func:`gnnrec.kernels.sampling.pick`."""
    (first_row, first_edge), (second_row, second_edge) = draws
    sizes = first_edge.numel(), second_edge.numel()
    begin = triton.cdiv(sizes[0], _ALIGNED) * _ALIGNED
    places, device = begin + sizes[1], slot.device
    keys = torch.empty(places, dtype=torch.int32 if 2 * (rows + 1) < 2**31 else torch.int64, device=device)
    message = torch.empty(places, dtype=torch.int32, device=device)
    by_movie = torch.empty(places, dtype=torch.int32, device=device)
    entry, *taken = (table.new_empty(places) for table in (movie, residual, level))
    if places:
        read = (tensor.contiguous() for tensor in (first_row, first_edge, second_row, second_edge))
        with torch.cuda.device_of(slot):
            _find[(triton.cdiv(places, _BLOCK),)](
                *read, slot, keys, message, rows, sizes[0], begin, places, _BLOCK, num_warps=_WARPS
            )
    keys, order = torch.sort(keys, stable=True)
    pointers = _starts(keys, rows, begin)
    if places:
        out = entry, *taken, by_movie
        with torch.cuda.device_of(slot):
            _take[(triton.cdiv(places, _BLOCK),)](
                order, message, movie, residual, level, *out, columns, begin, places, _BLOCK, num_warps=_WARPS
            )
    by_column = functools.cache(functools.partial(_by_column, keys, by_movie, rows, columns, begin, sizes[0]))
    spans = slice(0, sizes[0]), slice(begin, places)
    return [
        Picked(pointers[number], *(table[span] for table in (entry, *taken)), select=_item(by_column, number))
        for number, span in enumerate(spans)
    ]


def _item(both: Callable[[], tuple[ByColumn, ByColumn]], number: int) -> Callable[[], ByColumn]:
    return lambda: both()[number]


def _by_column(
    keys: Tensor, by_movie: Tensor, rows: int, columns: int, begin: int, first_draws: int
) -> tuple[ByColumn, ByColumn]:
    """Sorts the entries of both sets by movie.

    Args:
        keys: List of each place plus ``rows + 1`` in the second set, ``[places]``.
        by_movie: The same of movies, int32 ``[places]``.
        rows: Lists of a set; also the list of places without an entry.
        columns: Movies.
        begin: First place of the second set.
        first_draws: Places of the first set.
    """
    places, device = keys.numel(), keys.device
    row = torch.empty(places, dtype=torch.int32, device=device)
    entry = torch.empty(places, dtype=torch.int64, device=device)
    sorted_movies, order = torch.sort(by_movie, stable=True)
    pointers = _starts(sorted_movies, columns, begin)
    if places:
        with torch.cuda.device_of(keys):
            _transpose[(triton.cdiv(places, _BLOCK),)](
                order, keys, row, entry, rows, begin, places, _BLOCK, num_warps=_WARPS
            )
    first, second = slice(0, first_draws), slice(begin, places)
    return (pointers[0], row[first], entry[first]), (pointers[1], row[second], entry[second])


def _starts(keys: Tensor, lists: int, begin: int) -> Tensor:
    """Returns the first place of each list among those of its set: int64 ``[2, lists + 1]``."""
    starts = torch.empty(2, lists + 1, dtype=torch.int64, device=keys.device)
    with torch.cuda.device_of(keys):
        _lower_bounds[(triton.cdiv(starts.numel(), _BLOCK),)](
            keys, starts, lists, begin, keys.numel(), _BLOCK, num_warps=_WARPS
        )
    return starts


@triton.jit(do_not_specialize=["rows", "first_draws", "begin", "places"])
def _find(
    first_row,
    first_edge,
    second_row,
    second_edge,
    slot,
    key_out,
    message_out,
    rows: tl.int64,
    first_draws: tl.int64,
    begin: tl.int64,
    places: tl.int64,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    second = place >= begin
    in_first, in_second = place < first_draws, second & (place < places)
    chosen = tl.load(first_edge + place, mask=in_first, other=-1)
    chosen = tl.where(second, tl.load(second_edge + place - begin, mask=in_second, other=-1), chosen)
    message = tl.load(slot + chosen, mask=chosen >= 0, other=-1)
    full = message >= 0
    row = tl.load(first_row + place, mask=in_first & full, other=rows)
    row = tl.where(second, tl.load(second_row + place - begin, mask=in_second & full, other=rows) + rows + 1, row)
    tl.store(key_out + place, row.to(key_out.dtype.element_ty), mask=place < places)
    tl.store(message_out + place, message, mask=place < places)


@triton.jit(do_not_specialize=["lists", "begin", "places"])
def _lower_bounds(keys, starts, lists: tl.int64, begin: tl.int64, places: tl.int64, BLOCK: tl.constexpr):
    """Finds the first place whose key is not below each list's, with a binary search."""
    number = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    low = number * 0
    high = low + places
    remaining = places + 1
    while remaining > 0:
        middle = (low + high) // 2
        searching = low < high
        below = tl.load(keys + middle, mask=searching, other=0).to(tl.int64) < number
        low = tl.where(searching & below, middle + 1, low)
        high = tl.where(searching & (below == 0), middle, high)
        remaining = remaining // 2
    tl.store(starts + number, low - tl.where(number > lists, begin, 0), mask=number < 2 * (lists + 1))


@triton.jit(do_not_specialize=["columns", "begin", "places"])
def _take(
    order,
    message,
    movie,
    residual,
    level,
    movie_out,
    residual_out,
    level_out,
    key_out,
    columns: tl.int32,
    begin: tl.int64,
    places: tl.int64,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < places
    at = tl.load(order + place, mask=inside, other=0)
    chosen = tl.load(message + at, mask=inside, other=-1)
    full = chosen >= 0
    column = tl.load(movie + chosen, mask=full, other=columns)
    tl.store(movie_out + place, column, mask=inside)
    tl.store(residual_out + place, tl.load(residual + chosen, mask=full, other=0), mask=inside)
    tl.store(level_out + place, tl.load(level + chosen, mask=full, other=0), mask=inside)
    tl.store(key_out + place, column + tl.where(place >= begin, columns + 1, 0), mask=inside)


@triton.jit(do_not_specialize=["rows", "begin", "places"])
def _transpose(order, keys, row_out, entry_out, rows: tl.int64, begin: tl.int64, places: tl.int64, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < places
    second = place >= begin
    at = tl.load(order + place, mask=inside, other=0)
    row = tl.load(keys + at, mask=inside, other=0).to(tl.int64) - tl.where(second, rows + 1, 0)
    tl.store(row_out + place, row.to(tl.int32), mask=inside)
    tl.store(entry_out + place, at - tl.where(second, begin, 0), mask=inside)
