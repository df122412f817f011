"""Reads the rows of a file one by one, in Python: the first rows, and those around a mistake."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, TextIO

from gnnrec.data.layout import Layout, open_text

MOVIE_LINE = re.compile(r"\s*(\d+):\s*")
#: Rows by which the units of times and the types of ids are detected.
SAMPLE = 1000


class MalformedRow(ValueError):
    """A row that cannot be split into fields.

    Args:
        line: Its number in the file.
        reason: What is wrong with it.
    """

    def __init__(self, line: int, reason: str):
        super().__init__(reason)
        self.line = line


def rows(layout: Layout) -> Iterator[tuple[int, list]]:
    """Yields the number (lines of text count from 1) and the fields of every row, in the order of ``layout.header``.

    Raises:
        MalformedRow: A row cannot be split into fields.
        OSError, EOFError, zlib.error: The file cannot be read.
    """
    read = _parquet_rows(layout) if layout.kind == "parquet" else _rows_of_file(layout)
    constants = list(layout.partition.values())
    for number, row in read:
        yield number, row + constants


def first_rows(layout: Layout, number: int = SAMPLE) -> list[list]:
    """The fields of the first rows; rows with another number of fields than the header are left out."""
    try:
        return [row for _, row in itertools.islice(rows(layout), number) if len(row) == len(layout.header)]
    except MalformedRow:
        return []


def _rows_of_file(layout: Layout) -> Iterator[tuple[int, list]]:
    with open_text(layout.path) as file:
        yield from text_rows(layout, file)


def text_rows(layout: Layout, file: TextIO) -> Iterator[tuple[int, list]]:
    """Yields the line number (last line of the row, counted from 1) and the fields of every non-blank row."""
    if layout.kind == "dat":
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n").split("::")
    elif layout.kind == "json":
        names = list(layout.stored.values()) or layout.header
        for number, record in json_records(file):
            values = {name: record.get(name) for name in names}
            yield number, [values.get(name) for name in layout.header if name not in layout.partition]
    elif layout.kind == "netflix":
        yield from _netflix_rows(file)
    elif layout.kind == "netflix_titles":
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n").split(",", 2)
    else:
        yield from _csv_rows(layout, file)


def json_records(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the line number and the record of every non-blank line.

    Raises:
        MalformedRow: A line is not one JSON object.
    """
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise MalformedRow(number, f"it is not JSON: {error}".split(": line")[0]) from None
        if not isinstance(record, dict):
            raise MalformedRow(number, "it is not one JSON record")
        yield number, record


def _netflix_rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    movie = None
    for number, line in enumerate(file, start=1):
        if match := MOVIE_LINE.fullmatch(line):
            movie = match[1]
        elif line.strip():
            if movie is None:
                raise MalformedRow(number, "no line with a movie comes before it")
            yield number, [movie, *line.strip().split(",")]


def _csv_rows(layout: Layout, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(sys.maxsize)  # reviews may be long
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quoted else csv.QUOTE_NONE
    reader = csv.reader(file, delimiter=layout.delimiter, skipinitialspace=True, quoting=quoting)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise MalformedRow(reader.line_num + 1, str(error)) from None
        if row and reader.line_num > layout.header_lines:
            yield reader.line_num, row


def _parquet_rows(layout: Layout) -> Iterator[tuple[int, list]]:
    import pyarrow.parquet as pq

    names = [name for name in layout.header if name not in layout.partition]
    number = 0
    with pq.ParquetFile(layout.path, pre_buffer=False, buffer_size=1 << 16) as file:  # of a large row group a part
        for batch in file.iter_batches(SAMPLE, columns=list(layout.stored.values())):
            values = batch.to_pydict()
            for row in zip(*(values.get(name, [None] * len(batch)) for name in names)):
                number += 1
                yield number, list(row)
