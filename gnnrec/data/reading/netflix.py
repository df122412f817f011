"""Reads the Netflix Prize's files: a line ``MOVIE:`` and then the rows ``user,rating,date`` of that movie."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from gnnrec.data.layout import MISSING, Layout
from gnnrec.data.reading.delimited import STRINGS

_MOVIE = re.compile(rb"^[ \t]*(\d+):[ \t]*\r?$\n?", re.MULTILINE)
_BLANK = re.compile(rb"^[ \t\r]*\n", re.MULTILINE)
_NAMES = ["user", "rating", "date"]


def read(layout: Layout, block: bytes, movie: bytes | None) -> tuple[dict[str, pa.ChunkedArray], bytes | None]:
    """Reads columns by role from some lines of a file.

    Args:
        layout: The file.
        block: Whole lines.
        movie: The movie of the rows before the first line ``MOVIE:``.

    Returns:
        The columns, and the movie of the last row.

    Raises:
        pyarrow.ArrowInvalid: A row is malformed or belongs to no movie.
    """
    first, *others = _MOVIE.split(block)
    movies, parts = [movie, *others[::2]], [first, *others[1::2]]
    parts = [_BLANK.sub(b"", part) for part in parts]
    if movie is None and parts[0]:
        raise pa.ArrowInvalid("no line with a movie comes before the first row")
    counts = [part.count(b"\n") + (not part.endswith(b"\n") and bool(part)) for part in parts]
    numbers = pa.array([int(name) for name in movies if name is not None], pa.int64())
    positions = np.repeat(np.arange(len(numbers)), counts[len(movies) - len(numbers) :])
    rows = b"".join(parts)
    if not rows:
        table = pa.table({name: pa.array([], pa.string()) for name in _NAMES})
    else:
        table = pa_csv.read_csv(
            pa.BufferReader(rows),
            pa_csv.ReadOptions(column_names=_NAMES, use_threads=False),
            pa_csv.ParseOptions(quote_char=False),
            pa_csv.ConvertOptions(
                column_types={"user": STRINGS, "rating": pa.float32(), "date": pa.string()},
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        )
    if len(table) != len(positions):
        raise pa.ArrowInvalid("a row is malformed")
    table = table.append_column("movie", pa.chunked_array([numbers.take(pa.array(positions))]))
    return {role: table.column(name) for role, name in layout.stored.items()}, movies[-1]
