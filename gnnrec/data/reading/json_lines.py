"""Reads columns of files with one JSON record on each line."""

from __future__ import annotations

import datetime
import io
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from gnnrec.data.layout import Layout, is_missing
from gnnrec.data.reading.rows import MalformedRow, first_rows, json_records

#: Bytes that are parsed at a time; longer records are read one by one.
_BLOCK = 1 << 24


def read(layout: Layout, block: pa.Buffer) -> dict[str, pa.ChunkedArray]:
    """Reads columns by role from some lines of a file.

    Raises:
        pyarrow.ArrowInvalid: A line is no record.
    """
    columns = layout.stored
    sample = first_rows(layout, 100)
    values = {name: [row[layout.header.index(name)] for row in sample] for name in columns.values()}
    schema = pa.schema([(name, _type(values[name])) for name in columns.values()])
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            pa_json.ReadOptions(use_threads=False, block_size=_BLOCK),
            pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        return {role: table.column(name) for role, name in columns.items()}
    except pa.ArrowInvalid:  # values of several types, or a wrong line
        return _read_slowly(columns, block)


def _type(values: list[Any]) -> pa.DataType:
    """The type of a column, judging by its first values."""
    if any(isinstance(value, str) for value in values):
        return pa.string()
    return pa.float64() if any(isinstance(value, float) for value in values) else pa.int64()


def _read_slowly(columns: dict[str, str], block: pa.Buffer) -> dict[str, pa.ChunkedArray]:
    values: dict[str, list] = {role: [] for role in columns}
    try:
        for _, record in json_records(io.TextIOWrapper(io.BytesIO(block), "utf-8-sig", "surrogateescape")):
            for role, name in columns.items():
                values[role].append(record.get(name))
        return {role: pa.chunked_array([to_array(column)]) for role, column in values.items()}
    except MalformedRow as error:
        raise pa.ArrowInvalid(str(error)) from None


def to_array(values: list[Any]) -> pa.Array:
    """Converts values to numbers if all of them are, to dates and times, or else to text; missing values are null.

    Raises:
        pyarrow.ArrowInvalid: A value is neither a number, nor a date, nor text.
    """
    known = [value for value in values if not is_missing(value)]
    if all(type(value) in (int, float) for value in known):
        try:
            return pa.array([None if is_missing(value) else value for value in values])
        except (pa.ArrowInvalid, OverflowError):  # more than 64 bits
            pass
    if known and all(isinstance(value, datetime.date) for value in known):
        return pa.array(values)
    if any(isinstance(value, (bool, list, dict)) for value in known):
        raise pa.ArrowInvalid("a value is neither a number nor text")
    try:
        return pa.array([None if is_missing(value) else str(value) for value in values], pa.string())
    except UnicodeEncodeError as error:
        raise pa.ArrowInvalid(str(error)) from None
