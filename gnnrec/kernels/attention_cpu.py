"""CPU implementation of :mod:`gnnrec.kernels.attention`: loops over users, head by head (:mod:`attention_loops`).

Users receive by reading rows of movies and send by adding to them; neither direction needs edges sorted by movie. Each
thread has a range of users, and its own table if it adds to rows of movies. Tables of movies are laid out head by head,
with values and second values side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from gnnrec.kernels.attention_loops import kernels, largest_of_entries, largest_of_lists
from gnnrec.kernels.threads import array, balanced_ranges, num_workers, optional_array, run_threads, work_ranges


def largest(sender_logit: Tensor, rating_logit: Tensor | None, edges: tuple, to_users: bool) -> Tensor:
    """See :func:`gnnrec.kernels.attention_reference.largest`."""
    pointer, entry, level, _, columns = edges
    loop = largest_of_lists if to_users else largest_of_entries
    ranges = _ranges(pointer, entry, tables=not to_users)
    shape = (1, len(pointer) - 1) if to_users else (len(ranges), columns)
    out = sender_logit.new_full((*shape, sender_logit.shape[1]), -torch.inf)
    read = array(pointer), array(entry), optional_array(level), array(sender_logit), optional_array(rating_logit)

    def work(number: int, first: int, last: int) -> None:
        loop(*read, first, last, array(out)[0 if to_users else number])

    run_threads(work, ranges)
    return out[0] if len(out) == 1 else out.amax(0)


def sums(tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool, kinds: int) -> list[Tensor]:
    """See :func:`gnnrec.kernels.attention_reference.sums`."""
    like, heads = tables[2], tables[2].shape[1]
    users, movies = len(edges[0]) - 1, edges[-1]
    (value, second), channels, lanes = _padded(tables[:2], heads)
    ranges, logits = _ranges(*edges[:2], not to_users), _logits(tables, to_users, kinds)
    if to_users:
        table = _by_head((value, second), heads)
        numerator, by_kind = like.new_empty(users, value.shape[1]), like.new_zeros(users, heads, kinds)
    else:
        numerator = like.new_zeros(len(ranges), heads, movies, value.shape[1] // heads)
        by_kind = like.new_zeros(len(ranges), heads, movies, kinds)

    def work(number: int, first: int, last: int) -> None:
        for head in range(heads):
            read = _arguments(head, edges, logits, weight, slope, to_users)
            if to_users:
                kernels(lanes).gather(*read, array(table[head]), first, last, array(numerator), array(by_kind))
            else:
                written = array(numerator[number, head]), array(by_kind[number, head])
                kernels(lanes).scatter(*read, array(value), optional_array(second), first, last, *written)

    run_threads(work, ranges)
    if not to_users:
        numerator, by_kind = _total(numerator).transpose(0, 1).flatten(1), _total(by_kind).transpose(0, 1).contiguous()
    return [_cut(numerator, heads, channels), by_kind]


def gradients(
    gradient: tuple[Tensor, Tensor], tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list[Tensor | None]:
    """See :func:`gnnrec.kernels.attention_reference.gradients`."""
    like, (heads, kinds) = tables[2], gradient[1].shape[1:]
    users, movies = len(edges[0]) - 1, edges[-1]
    (value, second, grad_sums), channels, lanes = _padded((*tables[:2], gradient[0]), heads)
    grad_kinds = gradient[1]
    ranges, logits = _ranges(*edges[:2], True), _logits(tables, to_users, kinds)
    grad_own, grad_other = like.new_empty(users, heads), like.new_zeros(len(ranges), heads, movies)
    grad_rating = like.new_zeros(len(ranges), heads, 1 if logits[2] is None else logits[2].shape[1])
    if to_users:
        table = _by_head((value, second), heads)
        grad_table = like.new_zeros(len(ranges), *table.shape)
    else:
        grad_sums, grad_kinds = _by_head((grad_sums,), heads), grad_kinds.transpose(0, 1).contiguous()
        grad_value = like.new_empty(value.shape)
        grad_second = None if second is None else like.new_empty(value.shape)

    def work(number: int, first: int, last: int) -> None:
        for head in range(heads):
            read = _arguments(head, edges, logits, weight, slope, to_users)
            grad_logits = array(grad_own), array(grad_other[number, head]), array(grad_rating[number, head])
            if to_users:
                tensors = array(table[head]), array(grad_sums), array(grad_kinds).reshape(users * heads, -1)
                written = array(grad_table[number, head])
                kernels(lanes).gather_gradients(*read, *tensors, first, last, written, *grad_logits)
            else:
                tensors = array(value), optional_array(second), array(grad_sums[head]), array(grad_kinds[head])
                written = array(grad_value), optional_array(grad_second)
                kernels(lanes).scatter_gradients(*read, *tensors, first, last, *written, *grad_logits)

    run_threads(work, ranges)
    grad_other = _total(grad_other).T.contiguous()
    if to_users:
        width = value.shape[1] // heads
        parts = [part.flatten(1).contiguous() for part in _total(grad_table).transpose(0, 1).split(width, 2)]
        grad_value, grad_second = parts[0], parts[-1]
    grad_sender, grad_receiver = (grad_other, grad_own) if to_users else (grad_own, grad_other)
    return [
        _cut(grad_value, heads, channels),
        None if second is None else _cut(grad_second, heads, channels),
        grad_sender,
        None if tables[3] is None else grad_receiver,
        None if tables[4] is None else _total(grad_rating).T.contiguous(),
    ]


def _ranges(pointer: Tensor, entry: Tensor, tables: bool) -> list[tuple[int, int]]:
    """Splits users into ranges: one per thread if each thread has its own table, otherwise more for better balance."""
    if tables:
        return balanced_ranges(array(pointer), num_workers(entry.numel()))
    return work_ranges(array(pointer), entry.numel())


def _logits(tables: tuple, to_users: bool, kinds: int) -> tuple:
    """Lays out logits and shifts: ``[users, heads]``, ``[heads, movies]`` and ``[heads, levels]``."""
    _, _, sender_logit, receiver_logit, rating_logit, shift = tables
    if receiver_logit is None:
        receiver_logit = torch.zeros_like(shift)
    if rating_logit is None and kinds > 1:  # Zeros avoid compiling all loops again for levels without logits.
        rating_logit = shift.new_zeros(kinds, shift.shape[1])
    own, other = (receiver_logit, sender_logit) if to_users else (sender_logit, receiver_logit)
    rating_logit = None if rating_logit is None else rating_logit.T.contiguous()
    return own.contiguous(), other.T.contiguous(), rating_logit, (shift if to_users else shift.T).contiguous()


def _arguments(head: int, edges: tuple, logits: tuple, weight: float, slope: float, to_users: bool) -> list:
    """Returns the arguments that all loops have in common, for one head."""
    pointer, entry, factor, level, _, _ = edges
    own, other, rating, shift = logits
    number = array(own).dtype.type
    return [
        head, array(pointer), array(entry), optional_array(factor), optional_array(level),
        array(own), array(other[head]), None if rating is None else array(rating[head]),
        array(shift if to_users else shift[head]), number(slope), number(1 / weight),
    ]  # fmt: skip


def _padded(tables: tuple, heads: int) -> tuple[list[Tensor | None], int, int]:
    """Converts tables to the dtype of sums and pads the columns of a head to full vectors.

    Returns:
        The tables, the columns of a head before padding, and the lanes of a vector.
    """
    channels = tables[0].shape[1] // heads
    dtype = torch.float64 if tables[0].dtype == torch.float64 else torch.float32
    tables = [None if table is None else table.to(dtype) for table in tables]
    if channels % 8:
        tables = [
            None if table is None else pad(table.unflatten(1, (heads, -1)), (0, -channels % 8)) for table in tables
        ]
    tables = [None if table is None else table.flatten(1).contiguous() for table in tables]
    return tables, channels, next(lanes for lanes in (64, 32, 16, 8) if tables[0].shape[1] // heads % lanes == 0)


def _by_head(tables: tuple, heads: int) -> Tensor:
    """Joins tables ``[rows, heads * channels]`` head by head: ``[heads, rows, tables * channels]``."""
    parts = [table.unflatten(1, (heads, -1)).transpose(0, 1) for table in tables if table is not None]
    return torch.cat(parts, 2).contiguous()


def _cut(table: Tensor, heads: int, channels: int) -> Tensor:
    """Removes the columns that :func:`_padded` adds."""
    return table if table.shape[1] == heads * channels else table.unflatten(1, (heads, -1))[:, :, :channels].flatten(1)


def _total(tables: Tensor) -> Tensor:
    return tables[0] if len(tables) == 1 else tables.sum(0)
