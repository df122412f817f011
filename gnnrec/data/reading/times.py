"""Times of any unit: detects the unit of a file by the size of its numbers, and converts columns to seconds."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.layout import as_number, is_missing

#: Units of numbers and the number of units in a second. ``date`` is a number such as 20140513.
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
#: Units that are not numbers: text, and times with a type of their own (Parquet).
TEXT, TYPED, DATE = "text", "typed", "date"
UNIT_NAMES = {
    "s": "seconds since 1970", "ms": "milliseconds since 1970", "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970", DATE: "dates as numbers (YYYYMMDD)", TEXT: "dates and times as text",
    TYPED: "dates and times",
}  # fmt: skip
#: Numbers above these are in the next finer unit; 10^11 seconds after 1970 is in the year 5138.
_LIMITS = {"s": 10**11, "ms": 10**14, "us": 10**17}


def detect_unit(values: Iterable) -> str:
    """Detects the unit of timestamps.

    Args:
        values: The timestamps of the first rows: numbers, text or dates.
    """
    known = [value for value in values if not is_missing(value)]
    if not all(isinstance(value, (str, int, float, np.number)) for value in known):
        return TYPED
    numbers = [number for value in known if (number := as_number(value)) is not None and np.isfinite(number)]
    if len(numbers) * 2 < len(known):
        return TEXT
    sizes = [abs(number) for number in numbers if number]
    if not sizes:
        return "s"
    if all(map(_is_date, sizes)):
        return DATE
    typical = statistics.median(sizes)
    return next((unit for unit, limit in _LIMITS.items() if typical < limit), "ns")


def _is_date(number: float) -> bool:
    if number != int(number) or not 19_000_000 < number < 21_010_000:
        return False
    try:
        datetime.date(int(number) // 10000, int(number) // 100 % 100, int(number) % 100)
    except ValueError:
        return False
    return True


def parse_text(text: str) -> int:
    """Seconds since 1970 of a date and time in ISO 8601; times without an offset are in UTC.

    Raises:
        ValueError: It is not such a time.
    """
    text = text.strip()
    for ending in ("Z", "z", " UTC", " GMT"):
        if text.endswith(ending):
            text = text[: -len(ending)].rstrip() + "+00:00"
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(seconds=1))


def seconds(column: pa.ChunkedArray, unit: str) -> np.ndarray:
    """Converts integers, floats, dates, times or ISO 8601 strings to int64 seconds since 1970, rounded down.

    Args:
        column: Timestamps without nulls.
        unit: Unit of numbers, as :func:`detect_unit` returns it.

    Raises:
        pyarrow.ArrowInvalid: A value cannot be converted.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if _is_text(kind):
        if unit in PER_SECOND or unit == DATE:
            column = pc.utf8_trim_whitespace(column).cast(pa.float64() if unit == "s" else pa.int64())
        else:
            column = _parse(column)
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_numpy() // PER_SECOND[column.type.unit]
    if pa.types.is_floating(column.type):
        column = pc.floor(pc.divide(column, float(PER_SECOND.get(unit, 1)))).cast(pa.int64())
        return _dates(column.to_numpy()) if unit == DATE else column.to_numpy()
    numbers = column.cast(pa.int64()).to_numpy()
    if unit == DATE:
        return _dates(numbers)
    factor = PER_SECOND.get(unit, 1)
    return numbers if factor == 1 else numbers // factor


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _parse(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parses text, fast if all of it has the same form."""
    column = pc.utf8_trim_whitespace(column.cast(pa.string()))
    for zone in (None, "UTC"):
        try:
            return column.cast(pa.timestamp("us", tz=zone))
        except pa.ArrowInvalid:
            continue
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().chunk(0)
    try:
        parsed = [parse_text(text) for text in encoded.dictionary.to_pylist()]
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from None
    return pa.chunked_array([pa.array(parsed, pa.timestamp("s")).take(encoded.indices)])


def _dates(numbers: np.ndarray) -> np.ndarray:
    """Seconds at the beginning of dates such as 20140513."""
    months = numbers // 100
    try:
        day = (months // 100 - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (months % 100 - 1)
        return (day.astype("datetime64[D]") + (numbers % 100 - 1)).astype("datetime64[s]").astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise pa.ArrowInvalid(str(error)) from None
