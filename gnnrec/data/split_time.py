"""The protocol ``global-time``: one cut in time for all users, as in a system that is trained once a month."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.data.split_input import SplitInput
from gnnrec.errors import UserError

#: Times are counted in bins of 2^17 seconds, about a day and a half, before they are counted one by one.
_BIN_BITS = 17

#: Distinct values, int64 ascending, and how often each occurs.
Counts = tuple[np.ndarray, np.ndarray]


def global_time(data: SplitInput) -> np.ndarray:
    """Assigns ratings before the first cut to train, up to the second to validation, and later ones to test."""
    assert data.timestamp is not None  # checked with the cuts
    validation, test = time_cuts([data.timestamp], data.test, data.validation) if data.cuts is None else data.cuts
    split = np.full(len(data.movie), TRAIN, np.uint8)
    split[data.timestamp >= validation] = VALIDATION
    split[data.timestamp >= test] = TEST
    return split


def time_cuts(timestamps: list[np.ndarray], test: float, validation: float) -> tuple[int, int]:
    """Returns the first times of validation and of test.

    Args:
        timestamps: Seconds since 1970, in any number of parts.
        test: Share of the ratings held out for test.
        validation: Share of the remaining ones held out for validation.

    Raises:
        UserError: All ratings would be held out.
    """
    return find_cuts(
        merge(count_bins(part) for part in timestamps),
        lambda bin_: merge(count_in_bin(part, bin_) for part in timestamps),
        test,
        validation,
    )


def count_bins(timestamp: np.ndarray) -> Counts:
    """Counts times by bin."""
    return np.unique(timestamp >> _BIN_BITS, return_counts=True)


def count_in_bin(timestamp: np.ndarray, bin_: int) -> Counts:
    """Counts the times of one bin."""
    return np.unique(timestamp[timestamp >> _BIN_BITS == bin_], return_counts=True)


def merge(parts: Iterable[Counts]) -> Counts:
    """Adds up counts."""
    values, counts = zip(*parts)
    distinct, position = np.unique(np.concatenate(values), return_inverse=True)
    return distinct, np.bincount(position, np.concatenate(counts), len(distinct)).astype(np.int64)


def find_cuts(bins: Counts, in_bin: Callable[[int], Counts], test: float, validation: float) -> tuple[int, int]:
    """Returns the first times of validation and of test (:func:`time_cuts`) from counts.

    Args:
        bins: Counts of all bins.
        in_bin: Returns the counts of the times of a bin.
        test: Share of the ratings.
        validation: Share of the remaining ones.

    Raises:
        UserError: All ratings would be held out.
    """
    total = int(bins[1].sum())
    test_cut, held_out = _cut(bins, in_bin, test * total)
    validation_cut, held_out = _cut(bins, in_bin, held_out + validation * (total - held_out))
    if held_out == total:
        raise UserError(
            "--protocol global-time leaves nothing to train on: too few times are distinct: choose another protocol, "
            "or lower --test or --validation"
        )
    return min(validation_cut, test_cut), test_cut


def _cut(bins: Counts, in_bin: Callable[[int], Counts], target: float) -> tuple[int, int]:
    """The time from which on about ``target`` ratings are held out, and their number. Equal times stay together."""
    names, counts = bins
    total = int(counts.sum())
    if target < 0.5:
        return np.iinfo(np.int64).max, 0
    later = total - counts.cumsum()  # ratings after each bin
    position = int(np.flatnonzero(later < target)[0])
    times, at = in_bin(int(names[position]))
    from_time = later[position] + at[::-1].cumsum()[::-1]  # ratings from each time on
    candidates = np.append(from_time, later[position])
    nearest = int(np.abs(candidates - target).argmin())
    if nearest < len(times):
        return int(times[nearest]), int(candidates[nearest])
    return int(times[-1]) + 1, int(candidates[nearest])
