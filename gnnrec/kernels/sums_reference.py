"""Reference implementation of :mod:`gnnrec.kernels.sums` in plain torch: ``embedding_bag`` over the lists."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels.lists import CSRLists


def gather(tables: list[Tensor], lists: list[Tensor | None], weight: float, pair: bool = False) -> list[Tensor]:
    """Sums the rows of each list's entries.

    Args:
        tables: One table, or values and second values; with ``pair``, one gradient.
        lists: Pointer, entry, factor and row scale.
        weight: Factor of values.
        pair: Return two sums of one table, plain and scaled by ``factor``, instead of one sum of two tables.
    """
    pointer, entry, factor, row_scale = lists
    both = pair or len(tables) > 1
    first = _bag(tables[0], entry, pointer, None if both else factor) * weight
    sums = [first]
    if both:
        second = _bag(tables[-1], entry, pointer, factor)
        sums = [first, second] if pair else [first + second]
    return sums if row_scale is None else [total * row_scale.unsqueeze(1) for total in sums]


def scatter(
    tables: list[Tensor],
    lists: list[Tensor | None],
    by_column: list[Tensor | None],
    weight: float,
    columns: int,
    pair: bool = False,
) -> list[Tensor]:
    """Sums for each column the rows of the lists that contain it; arguments as for :func:`gather`.

    ``by_column`` are the lists sorted by column (pointer, row and order), or three None to sort them here.
    """
    pointer, entry, factor, row_scale = lists
    if by_column[0] is None:
        by_column = CSRLists(pointer, entry, columns).by_column
    column_pointer, row, order = by_column
    tables = [table.to(torch.promote_types(table.dtype, torch.float32)) for table in tables]
    if row_scale is not None:
        tables = [table * row_scale.unsqueeze(1) for table in tables]
    factor = None if factor is None else factor[order]
    return gather(tables, [column_pointer, row, factor, None], weight, pair)


def _bag(table: Tensor, entry: Tensor, pointer: Tensor, factor: Tensor | None) -> Tensor:
    return torch.nn.functional.embedding_bag(
        entry.to(torch.int64),
        table.to(torch.promote_types(table.dtype, torch.float32)),
        pointer.to(torch.int64),
        mode="sum",
        include_last_offset=True,
        per_sample_weights=factor,
    )
