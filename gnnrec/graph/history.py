"""Ratings of users in the order of time, and windows of them."""

from __future__ import annotations

import torch
from torch import Tensor

from gnnrec.graph.interactions import Interactions
from gnnrec.kernels.ragged import offsets, owners, ranges
from gnnrec.kernels.sorting import sort_within


def in_order(interactions: Interactions, values: Tensor | None = None) -> Tensor:
    """Returns values, by default the movies, of each user from the oldest to the newest rating: ``[ratings]``."""
    values = interactions.movie if values is None else values
    last = interactions.user_ptr[1:][owners(interactions.user_ptr, torch.int64)]
    return torch.empty_like(values).scatter_(0, last - interactions.place.long(), values)


def windows(interactions: Interactions, length: int, step: int) -> tuple[Interactions, Tensor]:
    """Cuts the ratings of each user into windows in time, each of which counts as a user.

    Args:
        interactions: Interactions with places.
        length: Ratings of a window; a user's last window may have fewer, but never only ratings of the one before.
        step: Ratings between the starts of two windows.

    Returns:
        The windows, whose ratings and edge ids are those of the first ones and mean nothing, and the user of each
        window, int64 ``[windows]``.
    """
    counts = interactions.user_ptr.diff()
    number = torch.where(counts > 0, 1 + (counts - length + step - 1).clamp(min=0) // step, 0)
    user = torch.arange(interactions.num_users, device=counts.device).repeat_interleave(number)
    start = (torch.arange(len(user), device=counts.device) - offsets(number)[user]) * step
    lengths = (counts[user] - start).clamp(max=length)
    pointer = offsets(lengths)
    index = ranges(interactions.user_ptr[user] + start, lengths)
    movie = in_order(interactions)[index]
    order = sort_within(pointer, movie).long()
    movie, weight = movie[order], interactions.weight
    weight = None if weight is None else in_order(interactions, weight)[index][order]
    edges = movie.numel()
    same = torch.zeros(edges, dtype=torch.int64, device=movie.device)
    return Interactions(pointer, movie, torch.ones(edges, device=movie.device), same, weight=weight), user
