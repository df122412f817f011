"""Numbers, standardized, and dates as two numbers."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import ClassVar

import numpy as np

from gnnrec.data.features.kinds import FeatureSettings, FittedColumn, Unusable

#: Numbers that a date becomes.
_DATE_PARTS = ("year", "day of the year")


@dataclasses.dataclass
class NumberColumn:
    """Numbers.

    Attributes:
        values: float64 ``[rows]``, finite, or NaN for a missing value.
    """

    values: np.ndarray
    kind: ClassVar[str] = "number"

    @cached_property
    def missing(self) -> np.ndarray:
        """Rows without a value, bool ``[rows]``."""
        return np.isnan(self.values)

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Learns mean and standard deviation."""
        values = self.values[rows]
        mean, deviation = _moments(values)
        constant = None if deviation else f"all values are {values[0]:g}"
        return FittedColumn(1 if deviation else 0, {"mean": mean, "deviation": deviation}, constant=constant)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Standardizes values."""
        if not fitted.width:
            return np.zeros((len(rows), 0), np.float32)
        return ((self.values[rows] - fitted.details["mean"]) / fitted.details["deviation"])[:, None]


@dataclasses.dataclass
class DateColumn:
    """Dates, encoded as the numbers of their year and of the day in it.

    Attributes:
        days: datetime64[D] ``[rows]``, NaT for a missing value.
    """

    days: np.ndarray
    kind: ClassVar[str] = "date"

    @cached_property
    def missing(self) -> np.ndarray:
        """Rows without a value, bool ``[rows]``."""
        return np.isnat(self.days)

    def fit(self, rows: np.ndarray, settings: FeatureSettings) -> FittedColumn:
        """Learns mean and standard deviation of the parts that are not equal in all rows."""
        moments = {name: _moments(part) for name, part in self._parts(rows).items()}
        moments = {name: (mean, deviation) for name, (mean, deviation) in moments.items() if deviation}
        details = {
            "parts": list(moments),
            "mean": [mean for mean, _ in moments.values()],
            "deviation": [deviation for _, deviation in moments.values()],
        }
        constant = None if moments else f"all values are {self.days[rows[0]]}"
        return FittedColumn(len(moments), details, constant=constant)

    def encode(self, rows: np.ndarray, fitted: FittedColumn) -> np.ndarray:
        """Standardizes the parts."""
        parts, details = self._parts(rows), fitted.details
        values = np.array([parts[name] for name in details["parts"]]).reshape(-1, len(rows)).T
        return (values - np.array(details["mean"])) / np.array(details["deviation"])

    def _parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        days = self.days[rows]
        years = days.astype("datetime64[Y]")
        day_of_year = (days - years.astype("datetime64[D]")).astype(np.int64) + 1
        return dict(zip(_DATE_PARTS, (years.astype(np.int64) + 1970.0, day_of_year.astype(np.float64))))


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation; the latter is 0 if all values are equal, which rounding could hide.

    Raises:
        Unusable: Their squares are no numbers of 64 bits.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(values.std()) if values.min() < values.max() else 0.0
    if not np.isfinite(deviation):
        raise Unusable(f"values as large as {np.abs(values).max():.0e}")
    return float(values.mean()), deviation
