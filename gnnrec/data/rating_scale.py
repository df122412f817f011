"""The rating scale of a file and the levels that ratings have on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gnnrec.data import check
from gnnrec.data.formats import Layout
from gnnrec.errors import UserError

#: Most levels that ratings have of their own.
MAX_LEVELS = 64
_BINS = 20


def parse(given: tuple[float, float] | str | None) -> tuple[float, float] | None:
    """The scale given by option, from numbers or from "MIN MAX"."""
    if given is None:
        return None
    try:
        low, high = map(float, given.replace(",", " ").strip("[]() ").split() if isinstance(given, str) else given)
    except ValueError:
        low = high = 0.0
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UserError(f"--rating_scale {given!r} is not a scale: give two numbers, the lower one first, as in '1 10'")
    return low, high


def decide(layout: Layout, option: tuple[float, float] | str | None, rating: np.ndarray) -> tuple[float, float]:
    """The rating scale; raises where a rating is off it."""
    given = parse(option)
    low, high = _decimal(rating.min()), _decimal(rating.max())
    if given is not None:
        scale = given
    elif layout.grouplens:
        whole_stars = layout.kind == "dat" and low >= 1 and bool((rating == np.round(rating)).all())
        scale = (1.0 if whole_stars else 0.5, 5.0)
    else:
        scale = (low, high)
    if low < scale[0] or high > scale[1]:
        check.raise_first_error(layout, scale=scale)
    return scale


def _decimal(value: np.float32) -> float:
    """The shortest decimal number that is this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def levels(rating: np.ndarray, scale: tuple[float, float]) -> list[float]:
    """The distinct ratings in ascending order, or 20 equal-width bin centres where there are more than 64."""
    distinct = np.sort(pd.unique(rating))
    if len(distinct) <= MAX_LEVELS:
        return [_decimal(level) for level in distinct]
    width = (scale[1] - scale[0]) / _BINS
    return [scale[0] + (place + 0.5) * width for place in range(_BINS)]
