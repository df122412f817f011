"""Temporal biases: closed-form biases of the years of a movie, and of the days and sessions of a user.

Time is divided into two overlapping sets of bins (:class:`gnnrec.kernels.edges.TimeBins`), so that ratings nearby in
time weigh more. A temporal bias is the shrunken mean of the residuals in the same bins, after the mean, the biases and
the temporal biases before it (Koren, "Collaborative filtering with temporal dynamics", KDD 2009). A rating is excluded
from its own temporal bias, like a target, which is in no sum at all. Predictions with time add temporal biases;
messages keep theirs. :func:`gnnrec.kernels.statistics.residuals` computes the temporal biases of edges; this module
computes those of other ratings.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.graph.time_bins import Clock
from gnnrec.kernels.statistics import window_sums


@dataclasses.dataclass(frozen=True)
class TemporalBiasTables:
    """Tables for the temporal bias of any movie and local user at any time.

    Attributes:
        clock: Origin and bins of time.
        years: Sums of residuals and numbers of ratings in both bins of movies over all ranks, float
            ``[movies, half-width bins, 2]``.
        pointer: Start of the message edges of each local user, int64 ``[users + 1]``.
        time: Seconds by the clock of message edges, ascending within a user, int32 ``[edges]``.
        stages: Residuals of message edges before each window of users, float ``[windows, edges]``.
    """

    clock: Clock
    years: Tensor
    pointer: Tensor
    time: Tensor
    stages: Tensor

    def bias_at(self, pointer: Tensor, movie: Tensor, time: Tensor) -> Tensor:
        """Computes temporal biases of ratings that are not message edges, ``[ratings, NUM_TEMPORAL_BIASES]``.

        Movies use their first or last bin for times before or after all bins; users have a bias of zero there.

        Args:
            pointer: Start of the ratings of each local user, int64 ``[users + 1]``.
            movie: Movie rows, ``[ratings]``.
            time: Seconds since 1970, int64 ``[ratings]``.
        """
        windows, time = self.clock.windows, self.clock.seconds(time)
        half_bin = (time // windows.movie_half_width).clamp(0, windows.num_movie_half_bins - 1)
        total, count = self.years[movie, half_bin].unbind(1)
        biases = [total / (count + windows.movie_shrinkage)]
        for residual, half_width, shrinkage in zip(self.stages, windows.user_half_widths, windows.user_shrinkages):
            total, count = window_sums(self.pointer, self.time, residual, half_width, pointer, time).unbind(1)
            biases.append(total / (count + shrinkage))
        return torch.stack(biases, 1)
