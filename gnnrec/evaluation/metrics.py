"""Interface of the metrics of all objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from gnnrec.evaluation.user_sums import UserSums

#: Ending of errors that are measured without the times of ratings.
WITHOUT_TIME = "_without_time"


class Metrics(Protocol):
    """Metrics of one split, over all ranks.

    Attributes:
        unit: Unit of :attr:`count`: ``ratings`` or ``users``.
    """

    unit: ClassVar[str]

    @property
    def by_user(self) -> UserSums | None:
        """Sums of this rank's users, by local rows; None if they were not computed."""

    @property
    def count(self) -> int:
        """Number of ratings or users measured; if it is 0, every figure is None."""

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""

    @property
    def loss(self) -> float | None:
        """Loss that validation minimizes."""

    @property
    def headline(self) -> str:
        """The most important figure as text: ``RMSE 0.8012``."""


def prefixed(split: str, metrics: Metrics) -> dict[str, float | None]:
    """Figures under the names that summaries and trackers use: ``test_rmse``."""
    return {f"{split}_{name}": value for name, value in metrics.figures().items()}


def in_order(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the metrics of a table in the order of its columns.

    Errors that are measured without the times of ratings come before those with them, since validation chooses by them.
    They are left out if no row has times, which would make them the same.

    Args:
        rows: Metric name, with or without the name of a split -> value.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    variants = [name for name in names if name.endswith(WITHOUT_TIME)]
    timed = any(
        row[name] != row.get(name.removesuffix(WITHOUT_TIME)) for row in rows for name in variants if name in row
    )
    ordered = []
    for name in names:
        if timed and name + WITHOUT_TIME in variants:
            ordered.append(name + WITHOUT_TIME)
        if name not in variants:
            ordered.append(name)
    return ordered
