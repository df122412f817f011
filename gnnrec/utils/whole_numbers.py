"""Whole numbers as text: raw ids."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"0|-?[1-9]\d{0,18}", re.ASCII)


def whole_number(text: str) -> int | None:
    """Returns the number of 64 bits whose usual text is a text, without a sign + or leading zeros; None if none is."""
    number = int(text) if _WHOLE.fullmatch(text) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None
