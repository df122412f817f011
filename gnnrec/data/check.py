"""Finds the first wrong row of a ratings file after the fast reader has failed.

This pass reads the file row by row in Python (about a minute for 20 million rows); it never runs for valid files.
"""

from __future__ import annotations

import csv
import datetime
import math
from collections.abc import Iterator
from typing import Any, NoReturn, TextIO

from gnnrec.data.formats import READING_ERRORS, Layout, open_text, unreadable
from gnnrec.data.ids import is_integer
from gnnrec.errors import UserError

MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "\\N"]
_REPAIR = "correct or remove that row"


def raise_first_error(
    layout: Layout, reason: str = "", integer_ids: tuple[str, ...] = (), scale: tuple[float, float] | None = None
) -> NoReturn:
    """Raises the error for the first wrong row.

    Args:
        layout: The file.
        reason: Message of the fast reader, used if no row is found to be wrong.
        integer_ids: Roles (``user``, ``movie``) whose ids must be integers.
        scale: Lowest and highest allowed rating.

    Raises:
        UserError: Always.
    """
    unit = "row" if layout.kind == "parquet" else "line"
    number = 0
    try:
        for number, row in _rows(layout):
            if problem := _problem(layout, row, integer_ids, scale):
                raise UserError(f"{layout.path} {unit} {number}: {problem}")
    except csv.Error as error:
        raise UserError(f"{layout.path} {unit} {number + 1}: malformed row ({error}): {_REPAIR}") from None
    except READING_ERRORS as error:
        raise unreadable(layout.path, error) from None
    reason = (reason or "its values cannot be converted").splitlines()[0].rstrip(". ")
    raise UserError(f"{layout.path} cannot be read ({reason}): correct the file")


def text_rows(layout: Layout, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number (last line of the row, counted from 1) and the fields of every non-blank row."""
    if layout.kind == "dat":
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n").split("::")
        return
    reader = csv.reader(file, delimiter=layout.delimiter)
    header_seen = False
    for row in reader:
        if row and header_seen:
            yield reader.line_num, row
        header_seen = header_seen or bool(row)


def _rows(layout: Layout) -> Iterator[tuple[int, list]]:
    if layout.kind == "parquet":
        import pyarrow.parquet as pq

        number = 0
        names = list(layout.columns.values())
        for batch in pq.ParquetFile(layout.path).iter_batches(columns=names):
            values = batch.to_pydict()
            for row in zip(*(values.get(name, [None] * len(batch)) for name in layout.header)):
                number += 1
                yield number, list(row)
        return
    with open_text(layout.path) as file:
        yield from text_rows(layout, file)


def as_number(value: Any) -> float | None:
    """Parses a field as a number (NaN and infinities included); returns None if it is not one."""
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _problem(layout: Layout, row: list, integer_ids: tuple[str, ...], scale: tuple[float, float] | None) -> str | None:
    if len(row) != len(layout.header):
        return f"malformed row ({len(row)} fields, not {len(layout.header)}): {_REPAIR}"
    values = {role: row[layout.header.index(name)] for role, name in layout.columns.items()}
    for role in ("user", "movie"):
        if _is_missing(values[role]):
            return f"the {role} id is missing: {_REPAIR}"
        if isinstance(values[role], str) and any("\ud800" <= letter <= "\udfff" for letter in values[role]):
            return f"the {role} id is not UTF-8 text: convert the file to UTF-8"
        if role in integer_ids and not is_integer(values[role]):
            return (
                f"the {role} id {values[role]!r} is not an integer, but other {role} ids are: {_REPAIR}, "
                f"or pass --{role}-column {layout.columns[role]} to read the ids as text"
            )
    return _rating_problem(values.get("rating", 0), scale) or _time_problem(values.get("timestamp", 0))


def _rating_problem(text: object, scale: tuple[float, float] | None) -> str | None:
    if _is_missing(text):
        return f"the rating is missing or NaN: {_REPAIR}"
    rating = as_number(text)
    if rating is None:
        return f"the rating {text!r} is not a number: {_REPAIR}"
    if not math.isfinite(rating):
        return f"the rating {text!r} is not finite: {_REPAIR}"
    if scale and not scale[0] <= rating <= scale[1]:
        return (
            f"the rating {text} is off the scale {scale[0]:g} to {scale[1]:g}: "
            'correct it or set the scale with --rating-scale "MIN MAX"'
        )
    return None


def _time_problem(text: object) -> str | None:
    if _is_missing(text):
        return f"the timestamp is missing: {_REPAIR}"
    number = as_number(text)
    if number is not None and not math.isfinite(number):
        return f"the timestamp {text!r} is not finite: {_REPAIR}"
    if number is not None and abs(number) >= 2**63:
        return f"the timestamp {text!r} is out of range for seconds since 1970: {_REPAIR}"
    if number is None and isinstance(text, str):
        try:
            datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        except ValueError:
            return f"the timestamp {text!r} is neither seconds since 1970 nor YYYY-MM-DD HH:MM:SS: {_REPAIR}"
    return None


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return value.strip() in MISSING
    return value is None or value != value
