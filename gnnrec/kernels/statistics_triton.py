"""Triton implementation of ``fold_sums`` and ``level_sums`` of :mod:`gnnrec.kernels.statistics`.

Both sum the entries of lists by a small category, the fold or the rating level. A program processes a chunk of a list,
with a column for each category, and its sums stay in registers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.chunks_triton import Reading, own_chunk
from gnnrec.kernels.edges import Edges
from gnnrec.kernels.lanes_triton import tile_rows
from gnnrec.kernels.lists import CSRLists
from gnnrec.kernels.sums_triton import add_extra_rows


def fold_sums(edges: Edges, folds: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See :func:`gnnrec.kernels.statistics.fold_sums`."""
    order, kind = edges.orders.by_movie, (folds, torch.float64, True)
    of_users = _category_sums(Reading(edges.pointer, edges.movie, None), edges.fold, edges.rating, None, *kind)
    reading = Reading(order.movie_pointer, order.user, None)
    of_movies = _category_sums(reading, edges.fold_by_movie, edges.rating, order.order, *kind)
    user_count, user_sum = (sums.T.contiguous() for sums in of_users)
    return user_count, user_sum, *of_movies


def level_sums(
    pointer: Tensor,
    movie: Tensor,
    level: Tensor,
    shape: tuple[int, int],
    scale: Tensor | None,
    to_users: bool,
    dtype: torch.dtype,
) -> Tensor:
    """See :func:`gnnrec.kernels.statistics.level_sums`."""
    if not to_users:
        pointer, movie, order = CSRLists(pointer, movie, shape[0]).by_column
        level = level.index_select(0, order)
    reading, sender = Reading(pointer, movie, None), None if scale is None else movie
    return _category_sums(reading, level, scale, sender, shape[1], dtype)[1]


def _category_sums(
    reading: Reading,
    category: Tensor,
    value: Tensor | None,
    index: Tensor | None,
    categories: int,
    dtype: torch.dtype,
    counts: bool = False,
) -> tuple[Tensor | None, Tensor]:
    """Counts the entries of each list in each category, and sums their values.

    Args:
        reading: The lists.
        category: uint8 ``[entries]``.
        value: Values; None for ones.
        index: Position of the value of each entry; None for the entry's own.
        categories: Number of categories.
        dtype: Type of sums.
        counts: Count entries.

    Returns:
        Counts, int32 ``[lists, categories]``, or None, and sums, ``[lists, categories]``.
    """
    lists, extras = reading.lists, reading.extras
    sums = torch.empty(lists + extras, categories, dtype=dtype, device=category.device)
    count = torch.empty(sums.shape, dtype=torch.int32, device=category.device) if counts else None
    columns = triton.next_power_of_2(categories)
    with torch.cuda.device_of(sums):
        if lists:
            _sum_categories[(lists + extras,)](
                reading.pointer,
                category,
                value,
                index,
                count,
                sums,
                lists,
                extras,
                categories,
                reading.chunk,
                tile_rows(columns, dtype),
                columns,
                num_warps=1,
            )
    return (
        None if count is None else add_extra_rows(count, reading),
        add_extra_rows(sums, reading),
    )


@triton.jit(do_not_specialize=["lists", "extras"])
def _sum_categories(
    pointer,
    category,
    value,
    index,
    count_out,
    sum_out,
    lists,
    extras,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    _, begin, end, target = own_chunk(tl.program_id(0), pointer, lists, extras, CHUNK)
    columns = tl.arange(0, COLUMNS)
    total = tl.zeros([ROWS, COLUMNS], sum_out.dtype.element_ty)
    if count_out is not None:
        count = tl.zeros([ROWS, COLUMNS], tl.int32)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        inside = place < end
        own = tl.load(category + place, mask=inside, other=0).to(tl.int32)
        mine = inside[:, None] & (own[:, None] == columns[None, :])
        if count_out is not None:
            count += mine.to(tl.int32)
        if value is None:
            total += mine.to(total.dtype)
        else:
            source = place
            if index is not None:
                source = tl.load(index + place, mask=inside, other=0)
            read = tl.load(value + source, mask=inside, other=0).to(total.dtype)
            total += tl.where(mine, read[:, None], 0)
    places = target * WIDTH + columns
    tl.store(sum_out + places, tl.sum(total, 0), mask=columns < WIDTH)
    if count_out is not None:
        tl.store(count_out + places, tl.sum(count, 0), mask=columns < WIDTH)
