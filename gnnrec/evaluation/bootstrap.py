"""Confidence intervals of differences of metrics between two models: a paired bootstrap over users.

Both models are measured on the same resampled users (Efron and Tibshirani, "An introduction to the bootstrap", 1993,
chapter 13: percentile intervals). Users are resampled, not ratings, since errors of one user are not independent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from gnnrec.evaluation.user_sums import UserSums

#: Samples of users, and the share of them in an interval.
RESAMPLES, LEVEL = 1000, 0.95
#: Most weights of users in memory at a time.
_WEIGHTS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Difference:
    """A metric of two models.

    Attributes:
        first: Value of the first model.
        second: Value of the second model.
        low: Lower end of the interval of ``first - second``.
        high: Upper end.
    """

    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """The difference ``first - second``."""
        return self.first - self.second

    @property
    def is_clear(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.low > 0 or self.high < 0


def paired_differences(
    first: Sequence[UserSums], second: Sequence[UserSums], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Difference]:
    """Compares the metrics that two models have in common, on resampled users.

    Args:
        first: Sums of the first model; of several fits, with different seeds, the metrics are averaged.
        second: Sums of the second model, with the same users.
        resamples: Samples of users.
        seed: Seed of the samples.

    Raises:
        ValueError: The users of the models differ.
    """
    user = first[0].user
    if any(not np.array_equal(sums.user, user) for sums in (*first, *second)):
        raise ValueError("the models were measured on different users")
    own, other = (_mean(sums, np.ones(len(user))) for sums in (first, second))
    samples: dict[str, list[np.ndarray]] = {name: [] for name in own if name in other}
    for weight in _samples(len(user), resamples, seed):
        one, two = _mean(first, weight), _mean(second, weight)
        for name, values in samples.items():
            values.append(one[name] - two[name])
    ends = 100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2
    return {
        name: Difference(float(own[name]), float(other[name]), *np.percentile(np.concatenate(values), ends).tolist())
        for name, values in samples.items()
    }


def _mean(fits: Sequence[UserSums], weight: np.ndarray) -> dict[str, np.ndarray]:
    """Means of the metrics of several fits."""
    metrics = [sums.metrics(weight) for sums in fits]
    return {name: np.mean([values[name] for values in metrics], 0) for name in metrics[0]}


def _samples(users: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each user is in some samples, float64 ``[samples, users]``."""
    generator = np.random.default_rng(seed)
    at_a_time = max(1, _WEIGHTS // users)
    for first in range(0, resamples, at_a_time):
        number = min(at_a_time, resamples - first)
        yield np.stack(
            [
                np.bincount(generator.integers(0, users, users), minlength=users).astype(np.float64)
                for _ in range(number)
            ]
        )
