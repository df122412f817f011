"""How ratings drift with time: closed-form effects of the years of a movie and of the days and sessions of a user.

Time is cut into bins twice, the second time shifted by half a bin, so that the weight of a neighbour in time falls with
its distance. An effect is the shrunken mean of what is left of the ratings in the same bins after the mean, the biases
and the effects before it (time-dependent biases: Koren, "Collaborative filtering with temporal dynamics", KDD 2009). A
rating is left out of the effect on itself, so that an excluded edge is treated like a message edge, and a message
keeps what sets it apart from its neighbours in time.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
from torch import Tensor

from gnnrec.distributed import World
from gnnrec.kernels.ragged import counting_sort, index_dtype, offsets, segment_sum


@dataclasses.dataclass(frozen=True)
class Window:
    """Bins of time.

    Attributes:
        side: Whose ratings share a bin: ``user`` or ``movie``.
        seconds: Width of a bin.
        shrinkage: Ratings without any effect that every bin is given.
    """

    side: str
    seconds: int
    shrinkage: float


#: In the order in which effects are taken off: years of a movie, days of a user, sessions of a user.
WINDOWS = (Window("movie", 31_557_600, 50.0), Window("user", 86_400, 5.0), Window("user", 240, 1.0))
#: Bins of a movie at most, whatever time the data spans.
MOST_MOVIE_BINS = 64
#: Bins are cut this many times, each time shifted by an equal part of their width.
CUTS = 2


@dataclasses.dataclass(frozen=True)
class Cut:
    """One way to cut the edges of one side, sorted by row and time, into groups that share a bin.

    Attributes:
        first: Seconds at which bin 0 starts.
        width: Seconds a bin.
        bins: Number of bins.
        keys: Ascending ``row * bins + bin`` of the groups, int64 ``[groups]``; None where every row has all its bins.
        pointer: Where the edges of each group start, int64 ``[groups + 1]``.
    """

    first: int
    width: int
    bins: int
    keys: Tensor | None
    pointer: Tensor

    def find(self, row: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The group of each (row, time), and whether there is one: int64 and bool ``[n]``.

        A movie before its first or after its last bin is in that bin; a user there is in none.
        """
        number = (time - self.first) // self.width
        key = row.to(torch.int64) * self.bins + number.clamp(0, self.bins - 1)
        if self.keys is None:
            return key, torch.ones_like(key, dtype=torch.bool)
        if not self.keys.numel():
            return torch.zeros_like(key), torch.zeros_like(key, dtype=torch.bool)
        group = torch.searchsorted(self.keys, key).clamp(max=self.keys.numel() - 1)
        return group, (self.keys[group] == key) & (number >= 0) & (number < self.bins)


@dataclasses.dataclass(frozen=True)
class TimeBins:
    """The bins of all message edges of a rank, made once.

    Attributes:
        order: For each side, positions by user of the edges sorted by row, then time.
        cuts: For each of :data:`WINDOWS`, its cuts.
    """

    order: dict[str, Tensor]
    cuts: list[list[Cut]]


def time_bins(rows: dict[str, Tensor], num_rows: dict[str, int], time: Tensor, world: World) -> TimeBins:
    """Sorts the message edges of a rank by time and cuts them into bins.

    Args:
        rows: Side -> row of each edge, integers ``[edges]``, by user.
        num_rows: Side -> number of rows.
        time: Seconds since 1970, int64 ``[edges]``.
        world: The ranks. Every rank calls this: bins start at the first time of all.
    """
    if time.numel():
        ends = torch.stack([-time.min(), time.max()])
    else:
        ends = torch.full((2,), torch.iinfo(torch.int64).min, device=time.device)
    begin, end = (ends := world.max_(ends))[0].neg().item(), ends[1].item()
    by_time = torch.argsort(time, stable=True)
    order, cuts = {}, []
    for side, row in rows.items():
        within = counting_sort(row[by_time].to(torch.int32), num_rows[side])[1]
        order[side] = by_time[within.to(torch.int64)].to(index_dtype(time.numel()))
    for window in WINDOWS:
        row, width = rows[window.side], window.seconds
        if window.side == "movie":
            width = max(width, -(-(end - begin + 1) // (MOST_MOVIE_BINS - 1)))
        chosen = order[window.side].to(torch.int64)
        firsts = [begin - width * cut // CUTS for cut in range(CUTS)]
        dense = num_rows["movie"] if window.side == "movie" else None
        cuts.append([_cut(row[chosen], time[chosen], first, width, end, dense) for first in firsts])
    return TimeBins(order, cuts)


def _cut(row: Tensor, time: Tensor, first: int, width: int, end: int, dense: int | None) -> Cut:
    """Groups of edges that are sorted by row and time already; of ``dense`` rows every bin is a group."""
    bins = (end - first) // width + 1
    key = row.to(torch.int64) * bins + (time - first) // width
    if dense is not None:
        return Cut(first, width, bins, None, offsets(torch.bincount(key, minlength=dense * bins)))
    keys, counts = torch.unique_consecutive(key, return_counts=True)
    return Cut(first, width, bins, keys, offsets(counts))


@dataclasses.dataclass(frozen=True)
class DriftTables:
    """Effects of time for whoever asks.

    Attributes:
        bins: The bins.
        sums: For each of :data:`WINDOWS` and each cut, sums of residuals and numbers of message edges of the groups,
            float ``[groups]`` both; of movies over all ranks.
    """

    bins: TimeBins
    sums: list[list[tuple[Tensor, Tensor]]]

    def at(self, user: Tensor, movie: Tensor, time: Tensor) -> Tensor:
        """Effects on ratings that are no message edges, float ``[n, windows]``.

        Args:
            user: Local user rows, ``[n]``.
            movie: Movie rows, ``[n]``.
            time: Seconds since 1970, int64 ``[n]``.
        """
        rows, columns = {"user": user, "movie": movie}, []
        for window, cuts, sums in zip(WINDOWS, self.bins.cuts, self.sums):
            total = count = 0
            for cut, (sum_of, count_of) in zip(cuts, sums):
                group, found = cut.find(rows[window.side], time)
                if sum_of.numel():
                    total = total + torch.where(found, sum_of[group], 0)
                    count = count + torch.where(found, count_of[group], 0)
            columns.append(total / (count + CUTS * window.shrinkage) + torch.zeros_like(time, dtype=sum_of.dtype))
        return torch.stack(columns, 1)


@dataclasses.dataclass(frozen=True)
class Drift:
    """Effects of time on the edges of a rank.

    Attributes:
        effect: Float ``[edges, windows]``, by user, each without the edge's own rating.
        tables: Effects on other ratings.
    """

    effect: Tensor
    tables: DriftTables


def estimate_drift(bins: TimeBins, residual: Tensor, weight: Tensor, world: World) -> Drift:
    """Effects of time, one window after the other on what the windows before it leave.

    Args:
        bins: The bins of the edges.
        residual: What mean and biases leave of the ratings, float ``[edges]``, by user.
        weight: 1 for message edges, 0 for excluded ones, float ``[edges]``, by user.
        world: The ranks. Every rank calls this.
    """
    effects, tables = [], []
    for side, windows in itertools.groupby(zip(WINDOWS, bins.cuts), key=lambda pair: pair[0].side):
        # In the order of the side, where bins are contiguous.
        order = bins.order[side]
        left, carries, found = residual[order], weight[order], []
        for window, cuts in windows:
            own = left * carries
            total, count, sums = own * -CUTS, carries * -CUTS, []
            for cut in cuts:
                both = torch.stack([segment_sum(own, cut.pointer), segment_sum(carries, cut.pointer)])
                sum_of, count_of = world.sum_(both) if side == "movie" else both
                size = cut.pointer.diff()
                total += torch.repeat_interleave(sum_of, size)
                count += torch.repeat_interleave(count_of, size)
                sums.append((sum_of, count_of))
            found.append(total.div_(count.add_(CUTS * window.shrinkage)))
            left = left - found[-1]
            tables.append(sums)
        effect = residual.new_empty(residual.numel(), len(found))
        effect[order] = torch.stack(found, 1)
        effects.append(effect)
        residual = residual - effect.sum(1)
    return Drift(torch.cat(effects, 1), DriftTables(bins, tables))
