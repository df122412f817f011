"""Index arithmetic on ragged lists (CSR), on any device, without Python loops."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.kernels import dispatch, list_order_reference

_KERNELS = dispatch.KernelTable("list_order", list_order_reference)
#: Most entries that are sorted at a time on a GPU: torch sorts fewer than 2^31, with 24 temporary bytes an entry.
SORTED_AT_ONCE = 1 << 27


def offsets(counts: Tensor, dtype: torch.dtype = torch.int64) -> Tensor:
    """Computes the CSR offsets ``[n + 1]`` of lists with ``counts`` ``[n]`` entries."""
    pointer = torch.zeros(counts.numel() + 1, dtype=dtype, device=counts.device)
    torch.cumsum(counts, 0, out=pointer[1:])
    return pointer


def owners(pointer: Tensor, dtype: torch.dtype = torch.int32, entries: int | None = None) -> Tensor:
    """Returns the list of each entry, ``[pointer[-1]]``.

    ``entries`` is this number, if known; otherwise the host waits for the device.
    """
    return _KERNELS[pointer.device.type].owners(pointer, dtype, entries)


def starts_and_rows(column: Tensor, order: Tensor, owner: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Completes a sort of entries by column.

    Args:
        column: Columns of the entries, ascending, int32 ``[entries]``.
        order: Position of each of them before the sort, int64 ``[entries]``.
        owner: Row of each entry before the sort, int32 ``[entries]``.
        columns: Number of columns.

    Returns:
        The start of each column, int64 ``[columns + 1]``, and the row of each entry by column, int32 ``[entries]``.
    """
    return _KERNELS[column.device.type].starts_and_rows(column, order, owner, columns)


def ranges(starts: Tensor, counts: Tensor, total: int | None = None) -> Tensor:
    """Concatenates ``starts[i], starts[i] + 1, ..., starts[i] + counts[i] - 1`` for all ``i`` (int64).

    ``total`` is the sum of the counts, if known; otherwise the host waits for the device.
    """
    counts = counts.to(torch.int64)
    pointer = offsets(counts)
    shift = torch.repeat_interleave(starts.to(torch.int64) - pointer[:-1], counts, output_size=total)
    return shift.add_(torch.arange(shift.numel(), device=shift.device))


def counting_sort(keys: Tensor, num_keys: int) -> tuple[Tensor, Tensor]:
    """Sorts small integers stably.

    Args:
        keys: Integers in ``[0, num_keys)``, ``[n]``.
        num_keys: Number of possible keys.

    Returns:
        CSR offsets of the keys, int64 ``[num_keys + 1]``, and the order, int32 or int64 ``[n]``: ``keys[order]`` is
        ascending.
    """
    return transpose(torch.tensor([0, keys.numel()], device=keys.device), keys, num_keys)[:2]


def transpose(pointer: Tensor, column: Tensor, num_columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sorts the entries of a sparse matrix stably by column.

    Args:
        pointer: Start of the entries of each row, int64 ``[rows + 1]``.
        column: Integers in ``[0, num_columns)``, ``[n]``.
        num_columns: Number of columns.

    Returns:
        CSR offsets of the columns, int64 ``[num_columns + 1]``, the order, int32 or int64 ``[n]``, and the row of each
        entry in this order, int32 or int64 ``[n]``.
    """
    rows, entries = pointer.numel() - 1, column.numel()
    if column.device.type != "cpu":
        column_pointer, order = _sorted_in_blocks(column, num_columns)
        return column_pointer, order, owners(pointer, index_dtype(rows), entries).index_select(0, order)
    # scipy's conversion from CSR to CSC is a counting sort, seven times faster than argsort here.
    import numpy as np
    import scipy.sparse

    dtype = np.int32 if index_dtype(entries) == torch.int32 else np.int64
    matrix = scipy.sparse.csr_matrix(
        (
            np.arange(entries, dtype=dtype),
            column.to(torch.int32).numpy().astype(dtype, copy=False),
            pointer.numpy().astype(dtype),
        ),
        shape=(rows, num_columns),
    ).tocsc()
    column_pointer, order, row = (torch.from_numpy(array) for array in (matrix.indptr, matrix.data, matrix.indices))
    return column_pointer.to(torch.int64), order, row.to(index_dtype(rows))


def _sorted_in_blocks(column: Tensor, num_columns: int) -> tuple[Tensor, Tensor]:
    """Sorts entries stably by column: CSR offsets of the columns, and the order."""
    entries = column.numel()
    pointer, dtype = offsets(torch.bincount(column, minlength=num_columns)), index_dtype(entries)
    if entries <= SORTED_AT_ONCE:
        return pointer, torch.argsort(column, stable=True).to(dtype)
    order, free = torch.empty(entries, dtype=dtype, device=column.device), pointer[:-1].clone()
    for first, block in zip(range(0, entries, SORTED_AT_ONCE), column.split(SORTED_AT_ONCE)):
        keys, places = torch.sort(block, stable=True)
        counts = torch.bincount(block, minlength=num_columns)
        # Entry i of the sorted block is entry i - start of its column in this block.
        target = (free - offsets(counts)[:-1]).index_select(0, keys)
        target += torch.arange(keys.numel(), device=keys.device)
        order[target] = (places + first).to(dtype)
        free += counts
    return pointer, order


def index_dtype(count: int) -> torch.dtype:
    """Returns int32 if it can represent ``count``, else int64."""
    return torch.int32 if count < 2**31 else torch.int64


def segment_sum(values: Tensor, pointer: Tensor) -> Tensor:
    """Sums ``values`` over consecutive lists: float ``[lists]``, zero for empty lists."""
    return torch.segment_reduce(values, "sum", offsets=pointer, axis=0, initial=0)
