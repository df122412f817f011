"""CPU implementation of :func:`gnnrec.kernels.statistics.residuals`: one user at a time, whose edges stay in cache."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnnrec.kernels.compiled import compiled
from gnnrec.kernels.edges import Edges, Residuals
from gnnrec.kernels.ragged import offsets
from gnnrec.kernels.threads import array, number_type, run_compiled, work_ranges

#: Allocations are rounded up to a multiple of this number of messages.
ALLOCATION_UNIT = 1 << 20


@compiled
def _count_kept(pointer, fold, group, excluded, kept, first, last, out):
    for user in range(first, last):
        count = 0
        for edge in range(np.uint64(pointer[user]), np.uint64(pointer[user + 1])):
            carried = fold[edge] != excluded
            if group is not None:
                carried &= kept[group[edge]]
            count += carried
        out[user] = count


@compiled
def _residuals(
    pointer, movie, rating, level, fold, excluded, group, kept, scale, user_base, movie_bias,
    message_pointer, target_pointer, first, last,
    sent_movie, sent_residual, sent_level, slot, target_movie, target_rating,
):  # fmt: skip
    longest = 0
    for user in range(first, last):
        longest = max(longest, pointer[user + 1] - pointer[user])
    sends, targets = np.empty(longest + 1, np.uint32), np.empty(longest + 1, np.uint32)
    for user in range(first, last):
        # Unsigned positions avoid a check for negative indices in every access.
        begin, base = np.uint64(pointer[user]), user_base[user]
        size = np.uint64(pointer[user + 1]) - begin
        # All positions are written, even unused ones: a branch would be mispredicted often.
        sent, target = np.uint64(0), np.uint64(0)
        for at in range(size):
            supervised = fold[begin + at] == excluded
            included = not supervised
            sends[sent], targets[target] = at, at
            if group is not None:
                included &= kept[group[begin + at]]
            if slot is not None:
                own = -2 - target_pointer[user] - np.int64(target) if supervised else -1
                slot[begin + at] = message_pointer[user] + np.int64(sent) if included else own
            target += np.uint64(supervised)
            sent += np.uint64(included)
        out = np.uint64(message_pointer[user])
        for n in range(sent):
            edge = begin + sends[n]
            m = movie[edge]
            sent_movie[out + n], sent_level[out + n] = m, level[edge]
            sent_residual[out + n] = scale * (rating[edge] - base - movie_bias[np.uint32(m)])
        out = np.uint64(target_pointer[user])
        for n in range(target):
            edge = begin + targets[n]
            target_movie[out + n], target_rating[out + n] = movie[edge], rating[edge]


def _allocate(size: int, dtype: torch.dtype) -> Tensor:
    """Allocates ``size`` elements, rounded up so that the allocator can reuse the memory in the next pass."""
    return torch.empty(-(-size // ALLOCATION_UNIT) * ALLOCATION_UNIT, dtype=dtype)[:size]


def residuals(
    edges: Edges,
    excluded: int,
    num_targets: Tensor,
    sizes: tuple[int, int] | None,
    user_base: Tensor,
    movie_bias: Tensor,
    group: Tensor | None,
    kept: Tensor | None,
    scale: float,
    slots: bool,
) -> Residuals:
    """See :func:`gnnrec.kernels.statistics.residuals`. ``sizes`` is not used."""
    pointer, count = array(edges.pointer), edges.movie.numel()
    ranges = work_ranges(pointer, count)
    sent = torch.empty(len(pointer) - 1, dtype=torch.int64)
    run_compiled(_count_kept, ranges, [pointer, edges.fold, group, excluded, kept], [sent])
    message_pointer, target_pointer = offsets(sent), offsets(num_targets)
    total, targets, like = int(message_pointer[-1]), int(target_pointer[-1]), edges.rating
    result = Residuals(
        pointer=message_pointer,
        movie=_allocate(total, torch.int32),
        residual=_allocate(total, like.dtype),
        level=_allocate(total, torch.uint8),
        slot=torch.empty(count, dtype=torch.int32) if slots else None,
        target_pointer=target_pointer,
        target_movie=torch.empty(targets, dtype=torch.int32),
        target_rating=like.new_empty(targets),
    )
    read = (
        pointer, edges.movie, like, edges.level, edges.fold, excluded, group, kept, number_type(like)(scale),
        user_base, movie_bias, message_pointer, target_pointer,
    )  # fmt: skip
    written = [
        result.movie, result.residual, result.level, result.slot, result.target_movie, result.target_rating
    ]  # fmt: skip
    run_compiled(_residuals, ranges, read, written)
    return result
