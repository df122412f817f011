"""Rating scale of a file and the rating levels on it."""

from __future__ import annotations

import numpy as np

from gnnrec.data import check
from gnnrec.data.layout import Layout
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.errors import UserError

#: Maximum number of distinct ratings that are levels themselves; more ratings are grouped.
MAX_LEVELS = 64
_GROUPS = 20


def parse(option: tuple[float, float] | str | None) -> tuple[float, float] | None:
    """Parses the scale given by option, two numbers or "MIN MAX"."""
    if option is None:
        return None
    try:
        low, high = map(float, option.replace(",", " ").strip("[]() ").split() if isinstance(option, str) else option)
    except ValueError:
        low = high = 0.0
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UserError(
            f"--rating-scale {option!r} is not a scale: pass two numbers, the lower one first, as in '1 10'"
        )
    return low, high


def resolve_all(
    layouts: list[Layout], option: tuple[float, float] | str | None, ratings: list[np.ndarray]
) -> tuple[float, float]:
    """Returns the scale that covers the scales of all files.

    Args:
        layouts: The files.
        option: ``--rating-scale``.
        ratings: Ratings of each file, float32: all of them, or those that :func:`resolve` depends on; may be empty.

    Raises:
        UserError: A rating is off the scale.
    """
    scales = [resolve(layout, option, rating) for layout, rating in zip(layouts, ratings) if len(rating)]
    return min(low for low, _ in scales), max(high for _, high in scales)


def resolve(layout: Layout, option: tuple[float, float] | str | None, rating: np.ndarray) -> tuple[float, float]:
    """Returns the rating scale; raises a :class:`UserError` if a rating is off the scale."""
    parsed = parse(option)
    low, high = _decimal(rating.min()), _decimal(rating.max())
    if parsed is not None:
        scale = parsed
    elif layout.grouplens and not layout.implicit:
        whole_stars = not layout.header_lines and low >= 1 and bool((rating == np.round(rating)).all())
        scale = (1.0 if whole_stars else 0.5, 5.0)
    else:
        scale = (low, high)
    if low < scale[0] or high > scale[1]:
        check.raise_first_error(layout, scale=scale)
    return scale


def _decimal(value: np.float32) -> float:
    """Shortest decimal number that rounds to this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def levels(ratings: RatingCounts, scale: tuple[float, float]) -> list[float]:
    """Returns the distinct ratings in ascending order, or the centers of 20 groups of equal size if more than 64.

    Args:
        ratings: The train ratings. Without any the levels are the ends of the scale.
        scale: Lowest and highest possible rating.
    """
    distinct = ratings.rating if len(ratings.rating) <= MAX_LEVELS else ratings.quantiles(_GROUPS)
    return [_decimal(level) for level in distinct] or sorted(set(scale))
