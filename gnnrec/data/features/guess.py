"""Guesses the kind of a column from its type, its name and its values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.features.kinds import Unusable
from gnnrec.data.features.parse import SEPARATOR, is_list, is_text, parsed_dates, parsed_number
from gnnrec.data.reading import times

#: Names of codes, as letters in lower case -> kind. Numbers in them are no quantities.
_NAMES = {
    "zip": "category:1", "zipcode": "category:1", "postcode": "category:1", "postalcode": "category:1",
    "gender": "category", "sex": "category", "occupation": "category", "country": "category", "language": "category",
}  # fmt: skip
#: Endings of names whose numbers may be times.
_TIMES = ("date", "time", "timestamp", "at", "on")
#: Seconds since 1970 below which numbers are no times.
_EARLIEST = 10**8
#: Values that are looked at to tell dates.
_SAMPLE = 1000
_DATE = r"^\d{4}-\d{1,2}(-\d|$)|^\d{1,2}-[A-Za-z]{3}-\d{4}$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
#: Share of the values from which others are mistakes.
_MOSTLY = 0.9
#: Words of a value, on average, from which values that are mostly distinct are text; from the second one on also if
#: they are not.
_WORDS, _MANY_WORDS = 1.5, 4.0


def guess_kind(name: str, column: pa.Array | np.ndarray) -> str:
    """Returns a kind, as ``--feature-types`` has it.

    Args:
        name: Name of the column.
        column: Its values (:func:`gnnrec.data.features.parse.plain`).

    Raises:
        Unusable: There are no values, or no kind fits them.
    """
    if isinstance(column, np.ndarray):
        return "vector"
    values = column.drop_null() if column.null_count else column
    if not len(values):
        raise Unusable("no row has a value")
    kind, letters = values.type, "".join(filter(str.isalpha, name.lower()))
    if is_list(kind):
        if pa.types.is_nested(kind.value_type):
            raise Unusable(f"values of type {kind} are no features")
        return "vector" if pa.types.is_floating(kind.value_type) or _is_fixed_number(kind) else "list"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "date"
    if pa.types.is_boolean(kind):
        return "number"
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise Unusable(f"values of type {kind} are no features")
    if letters in _NAMES:
        return _NAMES[letters]
    if letters.endswith("id") and letters != "id":
        if _distinct(values) * 2 > len(values):
            raise Unusable("ids, most of which occur once")
        return "category"
    if (numbers := _as_numbers(values)) is not None:
        return "date" if _are_times(letters, numbers, values) else "number"
    if is_text(kind) and _are_dates(values):
        return "date"
    return _guess_words(values)


def _is_fixed_number(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) and pa.types.is_integer(kind.value_type)


def _as_numbers(values: pa.Array) -> np.ndarray | None:
    """Numbers, if all values are and none is a code with a zero in front."""
    if (numbers := parsed_number(values)) is None:
        return None
    if is_text(values.type):
        with_zero = values.filter(pc.starts_with(values, "0"))  # few, if numbers are quantities
        if pc.any(pc.match_substring_regex(with_zero, r"^0\d")).as_py():
            return None
    return numbers.to_numpy(zero_copy_only=False)


def _are_times(letters: str, numbers: np.ndarray, values: pa.Array) -> bool:
    unit = times.detect_unit(values.slice(0, _SAMPLE).to_pylist())
    return unit == times.DATE or (letters.endswith(_TIMES) and bool(np.nanmin(numbers) >= _EARLIEST))


def _are_dates(values: pa.Array) -> bool:
    """Most values look like dates, and most of the first ones are."""
    if _share(values, _DATE) < _MOSTLY:
        return False
    sample = values.slice(0, _SAMPLE)
    if parsed_dates(sample) is not None:
        return True
    failed = sum(parsed_dates(sample.slice(row, 1)) is None for row in range(len(sample)))
    return failed <= (1 - _MOSTLY) * len(sample)


def _distinct(values: pa.Array) -> int:
    return pc.count_distinct(values).as_py()


def _share(values: pa.Array, pattern: str) -> float:
    """Share of the values that match a regular expression."""
    return pc.mean(pc.match_substring_regex(values, pattern).cast(pa.int8())).as_py()


def _guess_words(values: pa.Array) -> str:
    """The kind of text: a list, categories or text."""
    distinct = _distinct(values)
    words = pc.mean(pc.add(pc.count_substring_regex(values, r"\s+"), 1)).as_py()
    if pc.any(pc.match_substring(values, SEPARATOR)).as_py():
        entries = pc.list_flatten(pc.split_pattern(values, SEPARATOR))
        if _distinct(entries) * 2 <= len(entries) and words < _MANY_WORDS * 2:
            return "list"
    if distinct * 2 > len(values):
        if words >= _WORDS:
            return "text"
        if _share(values, _NUMBER) >= _MOSTLY:  # reading it will name the value that is none
            return "number"
        raise Unusable(f"{distinct:,} different values in {len(values):,} rows")
    return "text" if words >= _MANY_WORDS else "category"
