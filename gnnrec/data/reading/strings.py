"""Reads columns of CSV files as strings."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pa_csv

from gnnrec.data.layout import Layout, open_text


def read_strings(layout: Layout, names: list[str], encoding: str = "utf-8") -> pa.Table:
    """Reads columns of a CSV file; empty fields are null.

    Args:
        layout: The file.
        names: Names of the columns to read.
        encoding: Its encoding.

    Raises:
        pyarrow.ArrowInvalid: A row has another number of fields, or is not in this encoding.
    """
    return pa_csv.read_csv(
        str(layout.path),
        pa_csv.ReadOptions(encoding=encoding, column_names=layout.header, skip_rows=layout.header_lines),
        pa_csv.ParseOptions(
            delimiter=layout.delimiter, quote_char='"' if layout.quoted else False, newlines_in_values=True
        ),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def encoding_of(layout: Layout) -> str:
    """The encoding of a file: UTF-8, or else Latin-1, as ml-100k and ml-1m have it."""
    with open_text(layout.path) as file:
        invalid = any("\ud800" <= letter <= "\udfff" for line in file for letter in line if letter > "\u00ff")
    return "latin-1" if invalid else "utf-8"
