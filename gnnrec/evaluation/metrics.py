"""Interface of the metrics of all objectives."""

from __future__ import annotations

from typing import ClassVar, Protocol


class Metrics(Protocol):
    """Metrics of one split, over all ranks.

    Attributes:
        unit: Unit of :attr:`count`: ``ratings`` or ``users``.
    """

    unit: ClassVar[str]

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
