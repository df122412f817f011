"""The time of ratings: seconds from the first one, and the bins that effects of time are taken over."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.kernels.edges import TimeBins

#: Seconds of a bin and ratings without any effect that it is given, in the order in which effects are taken off: years
#: of a movie, days of a user, sessions of a user.
YEAR, DAY, SESSION = (31_557_600, 50.0), (86_400, 5.0), (240, 1.0)
#: Effects of time on a rating.
EFFECTS = 3
#: Bins of a movie at most, whatever time the data spans.
MOST_MOVIE_BINS = 64


@dataclasses.dataclass(frozen=True)
class Clock:
    """Attributes:
    first: Seconds since 1970 of the first rating of all ranks.
    windows: The bins.
    """

    first: int
    windows: TimeBins

    @staticmethod
    def over(time: Tensor, world: World) -> Clock:
        """A clock for all ranks.

        Args:
            time: Seconds since 1970 of this rank's edges, int64 ``[edges]``.
            world: The ranks. Every rank calls this.
        """
        return Clock.between(*(time.aminmax() if time.numel() else EMPTY), world)

    @staticmethod
    def between(first: Tensor, last: Tensor, world: World) -> Clock:
        """The same from the first and the last time of this rank, int64 scalars, or :data:`EMPTY`."""
        before, end = world.all_reduce_max_(torch.stack([-first, last]).to(world.device)).tolist()
        start: int = -before
        span: int = min(end - start, _LATEST)
        # Bins are cut twice, half a bin apart, so half bins must be whole seconds.
        half = max(YEAR[0], -(-(span + 1) // (MOST_MOVIE_BINS - 1))) // 2
        windows = TimeBins(
            movie_half=half,
            movie_halves=span // half + 1,
            movie_shrinkage=2 * YEAR[1],
            user_halves=(DAY[0] // 2, SESSION[0] // 2),
            user_shrinkages=(2 * DAY[1], 2 * SESSION[1]),
        )
        return Clock(start, windows)

    def read(self, time: Tensor) -> Tensor:
        """int32 seconds by this clock; what does not fit into 68 years is moved to their end.

        Args:
            time: Seconds since 1970, int64.
        """
        return (time - self.first).clamp_(-_LATEST, _LATEST).to(torch.int32)


_LATEST = 2**31 - 2
#: First and last time where there are none.
EMPTY = torch.tensor(2**63 - 1), torch.tensor(-(2**63 - 1))
