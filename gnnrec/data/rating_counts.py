"""Counts of ratings, from which their mean, standard deviation and levels follow."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

#: Bits of a float32 that are 0 in whole and half numbers up to 128.
_LOW_BITS = np.uint32(0xFFFF)


class RatingCounts:
    """Distinct ratings and their numbers, from which mean, standard deviation and levels follow.

    Ratings whose distances from the lowest possible rating agree in 12 significant bits count as one. So there are few
    of any ratings, and they do not depend on how the ratings are split into parts.

    Args:
        rating: Distinct or repeated ratings, float32 ``[n]``.
        count: How often each occurs, int64 ``[n]``.
        low: Lowest possible rating.

    Attributes:
        rating: Lowest rating of each kind, ascending, float32 ``[kinds]``.
        count: Ratings of each kind, int64 ``[kinds]``.
    """

    def __init__(self, rating: np.ndarray, count: np.ndarray, low: float):
        order = np.argsort(rating, kind="stable")
        rating, count = np.asarray(rating, np.float32)[order], np.asarray(count, np.int64)[order]
        kind = (rating.astype(np.float64) - low).astype(np.float32).view(np.uint32) >> np.uint32(11)
        first = np.flatnonzero(np.append(True, kind[1:] != kind[:-1])[: len(kind)])
        self.rating = rating[first]
        self.count = np.add.reduceat(count, first) if len(first) else count

    @staticmethod
    def of(rating: np.ndarray, low: float) -> RatingCounts:
        """Counts ratings, float32 ``[ratings]``, in any order."""
        bits = np.ascontiguousarray(rating, np.float32).view(np.uint32)
        if not (bits & _LOW_BITS).any():  # stars, percent, most counts: a table instead of a hash table
            number = np.bincount(bits >> 16)
            found = np.flatnonzero(number)
            return RatingCounts((found.astype(np.uint32) << np.uint32(16)).view(np.float32), number[found], low)
        counts = pd.Series(rating).value_counts(sort=False)
        return RatingCounts(counts.index.to_numpy(), counts.to_numpy(), low)

    @staticmethod
    def merge(parts: list[RatingCounts], low: float) -> RatingCounts:
        """Adds up the counts of several parts of the ratings."""
        rating, count = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rating", "count"))
        return RatingCounts(rating, count, low)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation; 0 and 1 without ratings, and a standard deviation of 1 if all are equal."""
        if not len(self.rating):
            return 0.0, 1.0
        rating, total = self.rating.astype(np.float64), int(self.count.sum())
        mean = math.fsum(rating * self.count) / total
        std = math.sqrt(math.fsum((rating - mean) ** 2 * self.count) / total)
        return mean, std or 1.0

    def quantiles(self, number: int) -> np.ndarray:
        """Centers of ``number`` groups of about equally many ratings, without repetition, ascending float32."""
        middle = (np.arange(number) + 0.5) / number * self.count.sum()
        return np.unique(self.rating[np.searchsorted(self.count.cumsum(), middle)])
