"""Reads columns of CSV files as strings."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.csv as pa_csv

from gnnrec.data.layout import MISSING, Layout, open_text


def read_strings(layout: Layout, names: list[str], encoding: str = "utf-8", numbers: Collection[str] = ()) -> pa.Table:
    """Reads columns of a CSV file; empty fields are null.

    Args:
        layout: The file.
        names: Names of the columns to read.
        encoding: Its encoding.
        numbers: Columns that are read as float64; missing values of any spelling are null then.

    Raises:
        pyarrow.ArrowInvalid: A row has another number of fields, is not in this encoding, or has no number where it
            should.
    """
    return pa_csv.read_csv(
        str(layout.path),
        pa_csv.ReadOptions(encoding=encoding, column_names=layout.header, skip_rows=layout.header_lines),
        pa_csv.ParseOptions(
            delimiter=layout.delimiter, quote_char='"' if layout.quoted else False, newlines_in_values=True
        ),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()) | dict.fromkeys(numbers, pa.float64()),
            include_columns=names,
            null_values=MISSING if numbers else [""],
            strings_can_be_null=True,
        ),
    )


def encoding_of(layout: Layout) -> str:
    """The encoding of a file: UTF-8, or else Latin-1, as ml-100k and ml-1m have it."""
    with open_text(layout.path) as file:
        invalid = any("\ud800" <= letter <= "\udfff" for line in file for letter in line if letter > "\u00ff")
    return "latin-1" if invalid else "utf-8"
