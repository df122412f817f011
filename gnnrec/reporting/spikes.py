"""Jumps of the loss and the gradient norm in the records of a run."""

from __future__ import annotations

import dataclasses

import pandas as pd

from gnnrec.reporting.run_records import RunRecords

#: A value is a spike above this multiple of the median of the records before it.
FACTOR = 3.0
#: Number of records in the running median, and the least number for a comparison.
WINDOW, LEAST = 20, 5
_SERIES = {"loss": "training loss", "gradient_norm": "gradient norm"}


@dataclasses.dataclass(frozen=True)
class Spike:
    """A record far above those before it.

    Attributes:
        step: Optimizer step of the record.
        value: Its value.
        ratio: The value divided by the running median.
    """

    step: int
    value: float
    ratio: float


def find_spikes(series: pd.DataFrame) -> list[Spike]:
    """Finds the values above ``FACTOR`` times the median of the ``WINDOW`` records before them.

    Args:
        series: Columns ``step`` and ``value``.
    """
    median = series["value"].rolling(WINDOW, min_periods=LEAST).median().shift(1)
    ratio = (series["value"] / median)[median > 0]
    high = ratio[ratio > FACTOR]
    return [Spike(int(series["step"][row]), float(series["value"][row]), float(high[row])) for row in high.index]


def spike_notices(records: RunRecords) -> list[str]:
    """Describes the largest spike of the loss and of the gradient norm."""
    notices = []
    for name, title in _SERIES.items():
        spikes = find_spikes(records.series(name))
        if spikes:
            largest = max(spikes, key=lambda spike: spike.ratio)
            others = f" ({len(spikes)} records are above {FACTOR:g} times)" if len(spikes) > 1 else ""
            notices.append(
                f"The {title} has a spike at step {largest.step:,}: {largest.value:.4g} is {largest.ratio:.1f} times "
                f"the median of the records before{others}. If the run recovers late or not at all, lower the learning "
                "rate."
            )
    return notices
