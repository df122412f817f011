"""How ratings temporal_bias with time: closed-form effects of the years of a movie and of the days and sessions of a
user.

Time is cut into bins twice, the second time shifted by half a bin, so that the weight of a neighbour in time falls with
its distance. An effect is the shrunken mean of what is left of the ratings in the same bins after the mean, the biases
and the effects before it (time-dependent biases: Koren, "Collaborative filtering with temporal dynamics", KDD 2009). A
rating is left out of the effect on itself, so that an excluded edge is treated like a message edge, and a message
keeps what sets it apart from its neighbours in time. :func:`gnnrec.kernels.statistics.residuals` computes the effects
on edges; here are those on other ratings.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.time_bins import Clock
from gnnrec.kernels.statistics import window_sums


@dataclasses.dataclass(frozen=True)
class TemporalBiasTables:
    """Effects of time for whoever asks.

    Attributes:
        clock: What times are counted from and cut into.
        years: Sums of residuals and numbers of ratings in both bins of movies over all ranks, float
            ``[movies, half bins, 2]``.
        pointer: Where the message edges of each local user start, int64 ``[users + 1]``.
        time: Their seconds by the clock, ascending within a user, int32 ``[edges]``.
        stages: What is left of their ratings before each window of users, float ``[windows, edges]``.
    """

    clock: Clock
    years: Tensor
    pointer: Tensor
    time: Tensor
    stages: Tensor

    def at(self, pointer: Tensor, movie: Tensor, time: Tensor) -> Tensor:
        """Effects on ratings that are no message edges, float ``[ratings, effects]``.

        A movie before its first or after its last bin is in that bin; a user there has no effects.

        Args:
            pointer: Where the ratings of each local user start, int64 ``[users + 1]``.
            movie: Movie rows, ``[ratings]``.
            time: Seconds since 1970, int64 ``[ratings]``.
        """
        windows, time = self.clock.windows, self.clock.read(time)
        half = (time // windows.movie_half).clamp(0, windows.movie_halves - 1)
        total, count = self.years[movie, half].unbind(1)
        effects = [total / (count + windows.movie_shrinkage)]
        for left, width, shrinkage in zip(self.stages, windows.user_halves, windows.user_shrinkages):
            total, count = window_sums(self.pointer, self.time, left, width, pointer, time).unbind(1)
            effects.append(total / (count + shrinkage))
        return torch.stack(effects, 1)
