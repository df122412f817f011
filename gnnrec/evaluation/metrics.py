"""What the metrics of every objective have in common."""

from __future__ import annotations

from typing import ClassVar, Protocol


class Metrics(Protocol):
    """Metrics of one split, over all ranks.

    Attributes:
        unit: What was counted: ``ratings`` or ``users``.
    """

    unit: ClassVar[str]

    @property
    def count(self) -> int:
        """Ratings or users that were measured; 0 where there are none, and then every figure is None."""

    def figures(self) -> dict[str, float | None]:
        """Metric name -> value, as summaries and trackers store them."""

    @property
    def loss(self) -> float | None:
        """What validation minimises."""

    @property
    def headline(self) -> str:
        """The one figure that matters most, as text: ``RMSE 0.8012``."""


def prefixed(split: str, metrics: Metrics) -> dict[str, float | None]:
    """Figures under the names that summaries and trackers use: ``test_rmse``."""
    return {f"{split}_{name}": value for name, value in metrics.figures().items()}
