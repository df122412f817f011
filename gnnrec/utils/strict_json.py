"""JSON that every reader takes: NaN and infinity, which it does not have, become null."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, indent: int | None = None) -> str:
    """Formats a value as JSON.

    Args:
        value: Dictionaries with strings as keys, lists, tuples, strings, numbers, booleans and None.
        indent: Spaces of an indentation; None for one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
