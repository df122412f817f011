"""Data classes of the kernels for statistics: edges, bins of time, and residuals."""

from __future__ import annotations

import dataclasses
from functools import cached_property

from torch import Tensor

from gnnrec.kernels.edge_orders import EdgeOrders


@dataclasses.dataclass(frozen=True)
class EdgeTimeBins:
    """Half-width bins (:class:`TimeBins`) of edges.

    Attributes:
        cell: Half-width bin of the movie, numbered among the *cells*, the half-width bins of all movies that have a
            rating on any rank, in ascending order of movie, then time; int32 ``[edges]``.
        steps: Two bits for each window of users, uint8 ``[edges]``: the edge is the first in its half-width bin; this
            bin is adjacent to the user's previous nonempty one.
    """

    cell: Tensor
    steps: Tensor


@dataclasses.dataclass(frozen=True)
class Edges:
    """Ratings sorted by user, then time, with folds.

    Attributes:
        pointer: Start of the edges of each user, int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        rating: float ``[edges]``; its dtype is that of all results.
        level: Rating level, uint8 ``[edges]``.
        bins: Half-width bins of time; None in models without time.
        fold: uint8 ``[edges]``.
        movies: Number of movies.
        orders: Orders of the edges for kernels on GPUs.
    """

    pointer: Tensor
    movie: Tensor
    rating: Tensor
    level: Tensor
    bins: EdgeTimeBins | None
    fold: Tensor
    movies: int
    orders: EdgeOrders

    @cached_property
    def fold_by_movie(self) -> Tensor:
        """Folds in the order of :attr:`EdgeOrders.by_movie`, uint8 ``[edges]``."""
        return self.fold.index_select(0, self.orders.by_movie.order)


@dataclasses.dataclass(frozen=True)
class TimeBins:
    """Widths of the bins of time, and their pseudo-ratings with residual 0.

    Two grids of bins overlap, the second shifted by half the width, so that every time is in two bins. Together these
    contain the *half-width bin* of the time twice and both adjacent half-width bins once. So sums over both bins follow
    from sums over half-width bins, which are all that is stored. A *window* is one kind of bin of users: day or
    session.

    Attributes:
        movie_half_width: Seconds of a half-width bin of movies.
        num_movie_half_bins: Number of half-width bins of a movie, at most 256.
        movie_shrinkage: Pseudo-ratings in both bins of a movie together.
        user_half_widths: Seconds of a half-width bin of users, for each of at most four windows.
        user_shrinkages: Pseudo-ratings in both bins of a user together, for each window.
    """

    movie_half_width: int
    num_movie_half_bins: int
    movie_shrinkage: float
    user_half_widths: tuple[int, ...]
    user_shrinkages: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Ratings minus mean and biases, split into messages and targets.

    Attributes:
        pointer: Start of the messages of each user, int64 ``[users + 1]``.
        movie: int32 ``[messages]``.
        residual: Residual of each message, scaled up by message dropout, float ``[messages]``.
        level: Rating level, uint8 ``[messages]``.
        slot: Message of each edge, ``-2 - t`` for target ``t`` and -1 for edges that are neither, int32 ``[edges]``;
            None unless requested.
        target_pointer: Start of the targets of each user, int64 ``[users + 1]``.
        target_movie: int32 ``[targets]``.
        target_rating: float ``[targets]``.
    """

    pointer: Tensor
    movie: Tensor
    residual: Tensor
    level: Tensor
    slot: Tensor | None
    target_pointer: Tensor
    target_movie: Tensor
    target_rating: Tensor
