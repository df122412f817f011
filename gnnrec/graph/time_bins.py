"""Time of ratings: seconds since the first rating, and the bins of temporal biases."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.kernels.edges import TimeBins

#: Seconds of a bin and its pseudo-ratings with residual 0, in the order in which temporal biases are subtracted: years
#: of a movie, days of a user, sessions of a user.
YEAR, DAY, SESSION = (31_557_600, 50.0), (86_400, 5.0), (240, 1.0)
#: Temporal biases of a rating.
NUM_TEMPORAL_BIASES = 3
#: Most bins of a movie, for any time span of the data.
MOST_MOVIE_BINS = 64


@dataclasses.dataclass(frozen=True)
class Clock:
    """Origin and bins of time.

    Attributes:
        first: Seconds since 1970 of the first rating of all ranks.
        windows: The bins.
    """

    first: int
    windows: TimeBins

    @staticmethod
    def from_times(time: Tensor, world: World) -> Clock:
        """Creates the clock of all ranks. Every rank calls this.

        Args:
            time: Seconds since 1970 of this rank's edges, int64 ``[edges]``.
            world: The ranks.
        """
        first, last = time.aminmax() if time.numel() else _EMPTY
        before, end = world.all_reduce_max_(torch.stack([-first, last]).to(world.device)).tolist()
        start: int = -before
        span: int = min(end - start, _LATEST)
        # Half-width bins have an integer number of seconds.
        half = max(YEAR[0], -(-(span + 1) // (MOST_MOVIE_BINS - 1))) // 2
        windows = TimeBins(
            movie_half_width=half,
            num_movie_half_bins=span // half + 1,
            movie_shrinkage=2 * YEAR[1],
            user_half_widths=(DAY[0] // 2, SESSION[0] // 2),
            user_shrinkages=(2 * DAY[1], 2 * SESSION[1]),
        )
        return Clock(start, windows)

    def seconds(self, time: Tensor) -> Tensor:
        """Converts times to int32 seconds by this clock, clamped to 68 years.

        Args:
            time: Seconds since 1970, int64.
        """
        seconds = torch.empty(time.shape, dtype=torch.int32, device=time.device)
        for block, source in zip(seconds.split(_BLOCK), time.split(_BLOCK)):
            block.copy_((source - self.first).clamp_(-_LATEST, _LATEST))
        return seconds


#: Times that are converted at a time.
_BLOCK = 1 << 16
_LATEST = 2**31 - 2
#: First and last time of no ratings.
_EMPTY = torch.tensor(2**63 - 1), torch.tensor(-(2**63 - 1))
