"""Triton implementation of :func:`gnnrec.kernels.statistics.residuals`: a program splits the edges of one user."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.edges import Edges, Residuals

#: Edges of a user that a program reads at a time: four per thread of a warp.
_ROWS = 128


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
    """See :func:`gnnrec.kernels.statistics.residuals`."""
    users, count, rating = edges.pointer.numel() - 1, edges.movie.numel(), edges.rating
    pointer, target_pointer = _pointers(edges, excluded, num_targets, group, kept)
    if sizes is None:
        # Without targets and dropout the size is known; otherwise the host waits for the device.
        sizes = (count, 0) if group is None and excluded < 0 else (int(pointer[-1]), int(target_pointer[-1]))
    messages, targets = sizes
    result = Residuals(
        pointer=pointer,
        movie=edges.movie.new_empty(messages),
        residual=rating.new_empty(messages),
        level=edges.level.new_empty(messages),
        slot=torch.empty(count, dtype=torch.int32, device=rating.device) if slots else None,
        target_pointer=target_pointer,
        target_movie=edges.movie.new_empty(targets),
        target_rating=rating.new_empty(targets),
    )
    if users and count:
        with torch.cuda.device_of(rating):
            _split_edges[(users,)](
                edges.pointer,
                edges.movie,
                rating,
                edges.level,
                edges.fold,
                excluded,
                group,
                kept,
                user_base.contiguous(),
                movie_bias.contiguous(),
                pointer,
                target_pointer,
                result.movie,
                result.residual,
                result.level,
                result.slot,
                result.target_movie,
                result.target_rating,
                scale,
                _ROWS,
                num_warps=1,
            )
    return result


def _pointers(edges: Edges, excluded: int, num_targets: Tensor, group: Tensor | None, kept: Tensor | None) -> Tensor:
    """Computes the starts of the messages and of the targets of each user, int64 ``[2, users + 1]``."""
    users = num_targets.numel()
    if not users:
        return torch.zeros(2, 1, dtype=torch.int64, device=num_targets.device)
    counts = torch.empty(2, users + 1, dtype=torch.int64, device=num_targets.device)
    with torch.cuda.device_of(counts):
        _count_messages[(users,)](
            edges.pointer,
            edges.fold,
            excluded,
            group,
            kept,
            num_targets.contiguous(),
            counts,
            users,
            _ROWS,
            num_warps=1,
        )
    return counts.cumsum_(1)


@triton.jit
def _carries(fold, edge, inside, excluded, group, kept):
    """Returns which edges are targets, and which carry a message."""
    target = inside & (tl.load(fold + edge, mask=inside, other=0).to(tl.int32) == excluded)
    sent = inside & (target == 0)
    if group is not None:
        number = tl.load(group + edge, mask=sent, other=0).to(tl.int32)
        sent = sent & (tl.load(kept + number, mask=sent, other=0) != 0)
    return target, sent


@triton.jit(do_not_specialize=["excluded", "users"])
def _count_messages(pointer, fold, excluded, group, kept, num_targets, out, users: tl.int64, ROWS: tl.constexpr):
    user = tl.program_id(0).to(tl.int64)
    begin, end = tl.load(pointer + user), tl.load(pointer + user + 1)
    targets = tl.load(num_targets + user).to(tl.int64)
    if group is None:
        total = end - begin - targets
    else:
        count = tl.zeros([ROWS], tl.int32)
        for start in range(begin, end, ROWS):
            edge = start + tl.arange(0, ROWS)
            _, sent = _carries(fold, edge, edge < end, excluded, group, kept)
            count += sent.to(tl.int32)
        total = tl.sum(count, 0).to(tl.int64)
    for_targets = out + users + 1
    tl.store(out, total * 0, mask=user == 0)
    tl.store(for_targets, total * 0, mask=user == 0)
    tl.store(out + 1 + user, total)
    tl.store(for_targets + 1 + user, targets)


@triton.jit(do_not_specialize=["excluded"])
def _split_edges(
    pointer,
    movie,
    rating,
    level,
    fold,
    excluded,
    group,
    kept,
    user_base,
    movie_bias,
    message_pointer,
    target_pointer,
    sent_movie,
    sent_residual,
    sent_level,
    slot,
    target_movie,
    target_rating,
    SCALE: tl.constexpr,
    ROWS: tl.constexpr,
):
    user = tl.program_id(0).to(tl.int64)
    end = tl.load(pointer + user + 1)
    base = tl.load(user_base + user)
    next_message = tl.load(message_pointer + user)
    next_target = tl.load(target_pointer + user)
    for start in range(tl.load(pointer + user), end, ROWS):
        edge = start + tl.arange(0, ROWS)
        inside = edge < end
        target, sent = _carries(fold, edge, inside, excluded, group, kept)
        row = tl.load(movie + edge, mask=inside, other=0)
        own = tl.load(rating + edge, mask=inside, other=0)
        place = next_message + tl.cumsum(sent.to(tl.int32), 0) - 1
        residual = SCALE * (own - base - tl.load(movie_bias + row.to(tl.int64), mask=sent, other=0))
        tl.store(sent_movie + place, row, mask=sent)
        tl.store(sent_residual + place, residual, mask=sent)
        tl.store(sent_level + place, tl.load(level + edge, mask=sent, other=0), mask=sent)
        next_message += tl.sum(sent.to(tl.int32), 0)
        of_target = next_target + tl.cumsum(target.to(tl.int32), 0) - 1
        tl.store(target_movie + of_target, row, mask=target)
        tl.store(target_rating + of_target, own, mask=target)
        if slot is not None:
            others = tl.where(target, -2 - of_target, -1)
            tl.store(slot + edge, tl.where(sent, place, others).to(tl.int32), mask=inside)
        next_target += tl.sum(target.to(tl.int32), 0)
