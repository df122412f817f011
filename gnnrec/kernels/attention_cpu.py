"""What :mod:`gnnrec.kernels.attention` computes, on the CPU: loops over users that :mod:`attention_loops` has.

Users receive by reading rows of movies and send by adding to them; neither direction needs edges sorted by movie.
Threads own ranges of users; those that add to rows of movies have a table each.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from gnnrec.kernels.attention_loops import kernels, largest_of_entries, largest_of_lists
from gnnrec.kernels.threads import array, optional, pieces, run, workers


def largest(sender_logit: Tensor, rating_logit: Tensor | None, edges: tuple, to_users: bool) -> Tensor:
    """See :func:`gnnrec.kernels.attention_reference.largest`."""
    pointer, entry, level, _, columns = edges
    loop = largest_of_lists if to_users else largest_of_entries
    ranges = _ranges(pointer, entry, tables=not to_users)
    shape = (1, len(pointer) - 1) if to_users else (len(ranges), columns)
    out = sender_logit.new_full((*shape, sender_logit.shape[1]), -torch.inf)
    read = array(pointer), array(entry), optional(level), array(sender_logit), optional(rating_logit)

    def work(number: int, first: int, last: int) -> None:
        loop(*read, first, last, array(out)[0 if to_users else number])

    run(work, ranges)
    return out[0] if len(out) == 1 else out.amax(0)


def sums(tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool, kinds: int) -> list[Tensor]:
    """See :func:`gnnrec.kernels.attention_reference.sums`."""
    heads = tables[2].shape[1]
    value, second, channels, lanes = _padded(*tables[:2], heads)
    read, ranges = _arguments(value, second, tables, edges, weight, slope, to_users), _ranges(*edges[:2], not to_users)
    shape = (1, len(edges[0]) - 1) if to_users else (len(ranges), edges[-1])
    like = tables[2]
    # A loop that gathers writes every row of the numerator.
    numerator = (like.new_empty if to_users else like.new_zeros)(*shape, value.shape[1])
    by_kind = like.new_zeros(*shape, heads, kinds)
    loop = kernels(lanes).gather if to_users else kernels(lanes).scatter

    def work(number: int, first: int, last: int) -> None:
        table = 0 if to_users else number
        loop(*read, first, last, array(numerator)[table], array(by_kind)[table])

    run(work, ranges)
    return [_cut(_total(numerator), heads, channels), _total(by_kind)]


def gradients(
    gradient: tuple[Tensor, Tensor], tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list[Tensor | None]:
    """See :func:`gnnrec.kernels.attention_reference.gradients`."""
    of_sums, of_kinds = gradient
    sender_logit, receiver_logit, rating_logit = tables[2:5]
    heads, like = sender_logit.shape[1], sender_logit
    value, second, channels, lanes = _padded(*tables[:2], heads)
    of_sums, _, _, _ = _padded(of_sums, None, heads)
    read, ranges = _arguments(value, second, tables, edges, weight, slope, to_users), _ranges(*edges[:2], True)
    users, movies, each = len(edges[0]) - 1, edges[-1], len(ranges)
    # Rows of users are written once, by one thread; movies have a table a thread.
    senders = (each, movies) if to_users else (1, users)
    new = like.new_zeros if to_users else like.new_empty
    for_value = new(*senders, value.shape[1])
    for_second = None if second is None else new(*senders, value.shape[1])
    for_user, for_movie = like.new_empty(users, heads), like.new_zeros(each, movies, heads)
    for_rating = like.new_zeros(each, 1 if rating_logit is None else len(rating_logit), heads)
    loop = kernels(lanes).gather_gradients if to_users else kernels(lanes).scatter_gradients
    given = array(of_sums), array(of_kinds)

    def work(number: int, first: int, last: int) -> None:
        table = number if to_users else 0
        of_tables = array(for_value)[table], None if second is None else array(for_second)[table]
        of_logits = array(for_user), array(for_movie)[number], array(for_rating)[number]
        loop(*read, *given, first, last, *of_tables, *of_logits)

    run(work, ranges)
    for_movie = _total(for_movie)
    for_sender, for_receiver = (for_movie, for_user) if to_users else (for_user, for_movie)
    return [
        _cut(_total(for_value), heads, channels),
        None if second is None else _cut(_total(for_second), heads, channels),
        for_sender,
        None if receiver_logit is None else for_receiver,
        None if rating_logit is None else _total(for_rating),
    ]


def _ranges(pointer: Tensor, entry: Tensor, tables: bool) -> list[tuple[int, int]]:
    """Ranges of users: one a thread where threads have tables of their own, otherwise more, which balances better."""
    threads = workers(entry.numel())
    return pieces(array(pointer), threads if tables or threads == 1 else 4 * threads)


def _arguments(
    value: Tensor, second: Tensor | None, tables: tuple, edges: tuple, weight: float, slope: float, to_users: bool
) -> list:
    """What all loops read."""
    _, _, sender_logit, receiver_logit, rating_logit, shift = tables
    pointer, entry, factor, level, _, _ = edges
    if receiver_logit is None:
        receiver_logit = torch.zeros_like(shift)
    number = array(shift).dtype.type
    logits = (receiver_logit, sender_logit) if to_users else (sender_logit, receiver_logit)
    return [
        array(value), optional(second), array(pointer), array(entry), optional(factor), optional(level),
        *map(array, logits), optional(rating_logit), array(shift.contiguous()), number(slope), number(1 / weight),
    ]  # fmt: skip


def _padded(value: Tensor, second: Tensor | None, heads: int) -> tuple[Tensor, Tensor | None, int, int]:
    """Tables where the columns of a head fill vectors; the columns a head has by itself, and the lanes."""
    channels = value.shape[1] // heads
    if channels % 8:
        value, second = (
            None if table is None else pad(table.unflatten(1, (heads, channels)), (0, -channels % 8)).flatten(1)
            for table in (value, second)
        )
    lanes = next(lanes for lanes in (64, 32, 16, 8) if value.shape[1] // heads % lanes == 0)
    return value.contiguous(), None if second is None else second.contiguous(), channels, lanes


def _cut(table: Tensor, heads: int, channels: int) -> Tensor:
    """Without the columns that :func:`_padded` adds."""
    return table if table.shape[1] == heads * channels else table.unflatten(1, (heads, -1))[:, :, :channels].flatten(1)


def _total(tables: Tensor) -> Tensor:
    return tables[0] if len(tables) == 1 else tables.sum(0)
