"""The edges that statistics are taken over, and the half bins of time that they fall into."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class EdgeTimeBins:
    """Which half bins of time edges fall into.

    Attributes:
        year: Half bin of the movie, uint8 ``[edges]``.
        steps: For each window of users two bits, uint8 ``[edges]``: the edge is the first in its half bin; that half
            bin follows directly on the one before of the same user.
    """

    year: Tensor
    steps: Tensor


@dataclasses.dataclass(frozen=True)
class Edges:
    """Ratings sorted by user, then time. Those of one fold are excluded.

    Attributes:
        pointer: Where the edges of each user start, int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        rating: float ``[edges]``; its dtype is that of all results.
        level: Rating level, uint8 ``[edges]``.
        bins: None where time plays no part.
        fold: uint8 ``[edges]``.
        movies: Number of movies.
    """

    pointer: Tensor
    movie: Tensor
    rating: Tensor
    level: Tensor
    bins: EdgeTimeBins | None
    fold: Tensor
    movies: int


@dataclasses.dataclass(frozen=True)
class TimeBins:
    """Widths of bins of time, and ratings without any effect that every bin is given.

    Bins are cut twice, the second time shifted by half of their width. The two bins of a moment together hold the half
    bin that it falls into twice and both neighbours once, so sums over half bins are all that is kept.

    Attributes:
        movie_half: Seconds of half a bin of a movie.
        movie_halves: Number of half bins of a movie, at most 256.
        movie_shrinkage: Ratings given to both bins of a movie together.
        user_halves: Seconds of half a bin of a user, for each of at most four windows.
        user_shrinkages: Ratings given to both bins of a user together, for each of the windows.
    """

    movie_half: int
    movie_halves: int
    movie_shrinkage: float
    user_halves: tuple[int, ...]
    user_shrinkages: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Residuals:
    """What is left of ratings after mean, biases and effects of time, cut into messages and targets.

    Attributes:
        pointer: Where the messages of each user start, int64 ``[users + 1]``.
        movie: int32 ``[messages]``.
        residual: What is left, scaled up for messages that were left out at random, float ``[messages]``.
        level: Rating level, uint8 ``[messages]``.
        slot: Which message each edge is, -1 for none, int32 ``[edges]``; None unless asked for.
        target_pointer: Where the targets of each user start, int64 ``[users + 1]``.
        target_movie: int32 ``[targets]``.
        target_rating: float ``[targets]``.
        target_effect: Effects of time on the targets, float ``[targets, windows]``; None where time plays no part.
        stages: What is left before each window of users, float ``[windows, edges]``; None unless asked for.
    """

    pointer: Tensor
    movie: Tensor
    residual: Tensor
    level: Tensor
    slot: Tensor | None
    target_pointer: Tensor
    target_movie: Tensor
    target_rating: Tensor
    target_effect: Tensor | None
    stages: Tensor | None
