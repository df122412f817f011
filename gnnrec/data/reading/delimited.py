"""Reads columns of text files with one row on each line: CSV with any delimiter, and ``::`` files."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.csv as pa_csv

from gnnrec.data.layout import MISSING, Layout
from gnnrec.data.reading import times
from gnnrec.data.reading.rows import first_rows

STRINGS = pa.dictionary(pa.int32(), pa.string())
_GAP = "gap "  # prefix for the empty columns between two colons
_COLUMN = re.compile(r"In CSV column #(\d+): .*conversion error")


def read(layout: Layout, block: pa.Buffer | None = None) -> dict[str, pa.ChunkedArray]:
    """Reads the columns of a file by role, or of ``block``, some of its rows without the header.

    Raises:
        pyarrow.ArrowInvalid: A row is malformed or a value cannot be converted.
    """
    columns = layout.stored
    names = [name for name in layout.header if name not in layout.partition]
    if layout.kind == "dat":  # with ":" as delimiter, a::b has the fields a, "" and b
        names = [name for column in names for name in (column, _GAP + column)][:-1]
    gaps = [name for name in names if name.startswith(_GAP)] if layout.kind == "dat" else []
    candidates = {role: list(_types(layout, role)) for role in columns}
    while True:
        types: dict[str, pa.DataType] = {columns[role]: candidates[role][0] for role in columns}
        try:
            table = pa_csv.read_csv(
                str(layout.path) if block is None else pa.BufferReader(block),
                pa_csv.ReadOptions(
                    column_names=names, use_threads=block is None, skip_rows=layout.header_lines if block is None else 0
                ),
                pa_csv.ParseOptions(
                    delimiter=layout.delimiter[0],
                    quote_char='"' if layout.quoted else False,
                    newlines_in_values=layout.quoted and not layout.grouplens,
                ),
                pa_csv.ConvertOptions(
                    column_types=types | dict.fromkeys(gaps, pa.null()),
                    include_columns=[*columns.values(), *gaps],
                    null_values=MISSING,
                    strings_can_be_null=True,
                ),
            )
            return {role: table.column(name) for role, name in columns.items()}
        except pa.ArrowInvalid as error:
            role = _role_of(layout, names, str(error))
            if role is None or len(candidates[role]) == 1:
                raise
            del candidates[role][0]


def _types(layout: Layout, role: str) -> tuple[pa.DataType, ...]:
    """Types to read a column as: each one is tried if its values do not fit the one before."""
    if role == "rating":
        return (pa.float32(),)
    if role == "timestamp":
        return _time_types(layout)
    return (pa.int32(), pa.int64(), STRINGS) if layout.grouplens and role not in layout.text_ids else (STRINGS,)


def _time_types(layout: Layout) -> tuple[pa.DataType, ...]:
    if layout.time_unit != times.TEXT:
        return pa.int64(), pa.float64()
    position = layout.header.index(layout.columns["timestamp"])
    first = next((str(row[position]) for row in first_rows(layout, 1)), "")
    zoned = re.search(r"(Z|[+-]\d\d:?(\d\d)?)$", first.strip()) and ":" in first
    return pa.timestamp("us", tz="UTC" if zoned else None), pa.string()


def _role_of(layout: Layout, names: list[str], message: str) -> str | None:
    """The role of the column that a conversion error names."""
    match = _COLUMN.search(message)
    if match is None:
        return None
    name = names[int(match[1])]
    return next((role for role, column in layout.stored.items() if column == name), None)
