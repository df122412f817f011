"""Places of ratings in the order of time."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec import rng
from gnnrec.kernels.ragged import owners
from gnnrec.kernels.sorting import sort_within

#: Times are compared by seconds within about 68 years before the newest one.
_SECONDS = (1 << 31) - 1


def tie_keys(movie: Tensor) -> Tensor:
    """Returns the keys by which ratings of one time are ordered, int64, for movie rows of any shape."""
    return (rng.uniform(rng.key("places"), movie.long()) * _SECONDS).long()


def places_from_newest(pointer: Tensor, time: Tensor, movie: Tensor) -> Tensor:
    """Numbers the ratings of each user from the newest one, which is 1.

    Ratings of one time are in a random order, which is that of their movies for all users: rows of movies would
    favor some.

    Args:
        pointer: Start of each user's ratings, int64 ``[users + 1]``.
        time: Seconds since 1970, int64 ``[ratings]``.
        movie: Movie rows, ``[ratings]``.

    Returns:
        int32 ``[ratings]``.
    """
    if not time.numel():
        return torch.zeros(0, dtype=torch.int32, device=time.device)
    order = sort_within(pointer, tie_keys(movie)).long()
    age = (time.max() - time).clamp(max=_SECONDS)
    order = order[sort_within(pointer, age[order]).long()]
    first = pointer[:-1][owners(pointer, torch.int64)]
    every = torch.arange(time.numel(), device=time.device)
    return torch.empty_like(first).scatter_(0, order, every - first + 1).int()
