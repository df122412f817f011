"""Triton implementation of :mod:`gnnrec.kernels.user_messages`: a program copies the movies of one user."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from gnnrec.kernels.random_triton import bits

#: Movies that a program reads at a time.
_ROWS = 128


def user_messages(
    users: Tensor,
    pointer: Tensor,
    entries: int,
    every: tuple[Tensor, Tensor, Tensor, Tensor | None],
    stream: int,
    rate: float,
    like: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """See :func:`gnnrec.kernels.user_messages.user_messages`."""
    start, movie, edge_id, value = every
    out = movie.new_empty(entries), edge_id.new_empty(entries), like.new_empty(entries)
    values = None if value is None else like.new_empty(entries)
    if entries:
        # A uniform number is 53 bits over 2^53: it is at least the rate if these bits are at least the threshold.
        threshold = math.ceil(rate * 2.0**53)
        with torch.cuda.device_of(users):
            _take[(users.numel(),)](
                *(users, pointer, start, movie, edge_id, value, stream, threshold),
                *(*out, values, 1 / (1 - rate), _ROWS),
                num_warps=1,
            )
    return *out, values


@triton.jit(do_not_specialize=["stream", "threshold"])
def _take(
    users,
    pointer,
    start,
    movie,
    edge_id,
    value,
    stream: tl.int64,
    threshold: tl.int64,
    movie_out,
    edge_out,
    sent_out,
    value_out,
    FACTOR: tl.constexpr,
    ROWS: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    user = tl.load(users + number)
    begin = tl.load(start + user)
    end = tl.load(start + user + 1)
    shift = tl.load(pointer + number) - begin
    for first in range(begin, end, ROWS):
        edge = first + tl.arange(0, ROWS)
        inside = edge < end
        tl.store(movie_out + edge + shift, tl.load(movie + edge, mask=inside, other=0), mask=inside)
        identity = tl.load(edge_id + edge, mask=inside, other=0)
        tl.store(edge_out + edge + shift, identity, mask=inside)
        kept = (bits(stream, identity) >> 11).to(tl.int64) >= threshold
        sent = kept.to(sent_out.dtype.element_ty) * FACTOR
        if value is not None:
            own = tl.load(value + edge, mask=inside, other=0).to(sent.dtype)
            tl.store(value_out + edge + shift, own, mask=inside)
            sent = sent * own
        tl.store(sent_out + edge + shift, sent, mask=inside)
