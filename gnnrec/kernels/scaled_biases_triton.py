"""Triton implementation of :mod:`gnnrec.kernels.scaled_biases`: the first programs have users, the others movies."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Biases of a program.
_BLOCK = 1024
_WARPS = 4


def scaled_biases(
    user: Tensor, movie: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> tuple[Tensor, Tensor]:
    """See :func:`gnnrec.kernels.scaled_biases.scaled_biases`."""
    outs = torch.empty_like(user), torch.empty_like(movie)
    read = [table.contiguous() for table in (user, movie, closed_user, closed_movie)]
    users, movies = user.numel(), movie.numel()
    blocks = triton.cdiv(users, _BLOCK)
    with torch.cuda.device_of(user):
        _scale[(blocks + triton.cdiv(movies, _BLOCK),)](
            *read, multiple, *outs, users, movies, blocks, _BLOCK, num_warps=_WARPS
        )
    return outs


def by_multiple(
    gradient: Tensor, movie_gradient: Tensor, closed_user: Tensor, closed_movie: Tensor, multiple: Tensor
) -> Tensor:
    """Computes the derivative by ``multiple``, a scalar."""
    read = [table.contiguous() for table in (gradient, movie_gradient, closed_user, closed_movie)]
    users, movies = gradient.numel(), movie_gradient.numel()
    blocks = triton.cdiv(users, _BLOCK)
    sums = gradient.new_empty(blocks + triton.cdiv(movies, _BLOCK))
    with torch.cuda.device_of(gradient):
        _dots[(len(sums),)](*read, multiple, sums, users, movies, blocks, _BLOCK, num_warps=_WARPS)
    return sums.sum()


@triton.jit(do_not_specialize=["users", "movies", "blocks"])
def _scale(
    user,
    movie,
    closed_user,
    closed_movie,
    multiple,
    user_out,
    movie_out,
    users: tl.int64,
    movies: tl.int64,
    blocks: tl.int64,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    raw = tl.load(multiple)
    # log(1 + exp(raw)), without overflow.
    factor = tl.maximum(raw, 0) + tl.log(1 + tl.exp(-tl.abs(raw)))
    place = number * BLOCK + tl.arange(0, BLOCK)
    if number < blocks:
        inside = place < users
        own = tl.load(user + place, mask=inside, other=0)
        tl.store(user_out + place, own + factor * tl.load(closed_user + place, mask=inside, other=0), mask=inside)
    else:
        place -= blocks * BLOCK
        inside = place < movies
        own = tl.load(movie + place, mask=inside, other=0)
        tl.store(movie_out + place, own + factor * tl.load(closed_movie + place, mask=inside, other=0), mask=inside)


@triton.jit(do_not_specialize=["users", "movies", "blocks"])
def _dots(
    user,
    movie,
    closed_user,
    closed_movie,
    multiple,
    sums,
    users: tl.int64,
    movies: tl.int64,
    blocks: tl.int64,
    BLOCK: tl.constexpr,
):
    number = tl.program_id(0).to(tl.int64)
    raw = tl.load(multiple)
    slope = 1 / (1 + tl.exp(-raw))
    place = number * BLOCK + tl.arange(0, BLOCK)
    if number < blocks:
        inside = place < users
        product = tl.load(user + place, mask=inside, other=0) * tl.load(closed_user + place, mask=inside, other=0)
    else:
        place -= blocks * BLOCK
        inside = place < movies
        product = tl.load(movie + place, mask=inside, other=0) * tl.load(closed_movie + place, mask=inside, other=0)
    tl.store(sums + number, slope * tl.sum(product, 0))
