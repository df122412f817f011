"""Bounds of numeric options, written beside their fields and checked in one place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, get_type_hints

from gnnrec.errors import UserError
from gnnrec.utils.option_names import dashed


@dataclasses.dataclass(frozen=True)
class Bound:
    """Values that an option may have, besides None; infinite ones are outside.

    Attributes:
        least: Lowest value.
        most: Highest value.
        above: Values are higher than this one.
        below: Values are lower than this one.
        meaning: What the lowest value stands for, such as "all".
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    meaning: str = ""

    def allows(self, value: float) -> bool:
        """Whether a value is inside. NaN never is."""
        return (
            math.isfinite(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """In words: "at least 1", "0 (all) or more", "from 0 to below 1"."""
        meaning = f" ({self.meaning})" if self.meaning else ""
        if self.above is not None:
            if self.below is not None:
                return f"between {self.above:g} and {self.below:g}"
            return f"above {self.above:g}" + ("" if self.most is None else f", at most {self.most:g}")
        least = f"{self.least:g}{meaning}"
        if self.below is not None:
            return f"from {least} to below {self.below:g}"
        if self.most is not None:
            return f"from {least} to {self.most:g}"
        return f"{least} or more" if meaning or self.least <= 0 else f"at least {least}"


def bounded(default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """A field of an options dataclass with a :class:`Bound`, whose attributes are the keywords."""
    return dataclasses.field(default=default, metadata={"bound": Bound(**limits)})


def bounds_of(kind: type) -> Iterator[tuple[str, Bound]]:
    """Dotted names and bounds of the fields of a dataclass and of the dataclasses in it."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from ((f"{field.name}.{name}", bound) for name, bound in bounds_of(hint))
        elif "bound" in field.metadata:
            yield field.name, field.metadata["bound"]


def check_bounds(options: Any) -> None:
    """Refuses values outside of their bounds, and NaN everywhere.

    Args:
        options: A dataclass of options.

    Raises:
        UserError: Names the option and what it may be.
    """
    for name, bound in bounds_of(type(options)):
        value = attrgetter(name)(options)
        if value is not None and not bound.allows(value):
            finite = "" if math.isfinite(value) else ", and finite"
            raise UserError(f"{dashed(name)} {value}: must be {bound}{finite}")
    for name, value in _numbers(options):
        if math.isnan(value):
            raise UserError(f"{dashed(name)} {value}: must be a number")


def _numbers(options: Any) -> Iterator[tuple[str, float]]:
    """Dotted names and values of the floats of a dataclass and of the dataclasses in it."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((f"{field.name}.{name}", number) for name, number in _numbers(value))
        elif isinstance(value, float):
            yield field.name, value
