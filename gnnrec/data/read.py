"""Reads a ratings file into columns: encoded ids, ratings and timestamps in seconds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gnnrec.data import check, ids
from gnnrec.data.formats import READING_ERRORS, Layout, open_text, unreadable
from gnnrec.errors import UserError

_STRINGS = pa.dictionary(pa.int32(), pa.string())
_GAP = "gap "  # prefix for the empty columns between two colons


@dataclasses.dataclass
class Ratings:
    """Columns of a ratings file in row order.

    Attributes:
        user: Encoded user ids.
        movie: Encoded movie ids.
        rating: float32 ``[ratings]``, finite.
        timestamp: int64 ``[ratings]`` in seconds since 1970, or None.
    """

    user: ids.EncodedIds
    movie: ids.EncodedIds
    rating: np.ndarray
    timestamp: np.ndarray | None


def read_ratings(layout: Layout, least_users: int = 2) -> Ratings:
    """Reads a ratings file and checks it for malformed rows, missing values and infinities.

    Args:
        layout: The file.
        least_users: Minimum number of users.

    Raises:
        UserError: A row is wrong; the message names the file, the line and the problem.
    """
    with explain_errors(layout):
        columns = _read_parquet(layout) if layout.kind == "parquet" else read_text(layout)
        if not len(columns["rating"]):
            raise no_ratings(layout)
        ratings = encode_columns(layout, columns)
        for role, encoded in (("user", ratings.user), ("movie", ratings.movie)):
            if encoded.mixed and layout.grouplens:
                check.raise_first_error(layout, integer_ids=(role,))
    if len(ratings.user.raw) < least_users:
        raise too_few_users(layout)
    return ratings


def no_ratings(layout: Layout) -> UserError:
    """Error for a file without rows."""
    return UserError(f"{layout.path} has no ratings (only a header): check that it is complete")


def too_few_users(layout: Layout) -> UserError:
    """Error for ratings of a single user."""
    return UserError(f"{layout.path} has ratings of one user only: at least two users are needed")


@contextlib.contextmanager
def explain_errors(layout: Layout) -> Iterator[None]:
    """Converts errors from reading a file inside the block into a :class:`UserError` that names the row."""
    try:
        yield
    except pa.ArrowInvalid as error:
        check.raise_first_error(layout, reason=str(error))
    except READING_ERRORS as error:
        raise unreadable(layout.path, error) from None


def encode_columns(layout: Layout, columns: dict[str, pa.ChunkedArray]) -> Ratings:
    """Checks columns for missing values and infinities and encodes ids. Empties ``columns`` to free memory early."""
    if any(column.null_count for column in columns.values()):
        check.raise_first_error(layout)
    rating = columns.pop("rating").to_numpy()
    if not np.isfinite(rating).all():
        check.raise_first_error(layout)
    user, movie = ids.encode(columns.pop("user")), ids.encode(columns.pop("movie"))
    return Ratings(user, movie, rating, _seconds(columns.pop("timestamp")) if "timestamp" in columns else None)


def read_text(layout: Layout, block: pa.Buffer | None = None) -> dict[str, pa.ChunkedArray]:
    """Reads the columns of a text file by role, or of ``block``, some of its rows without the header."""
    columns = dict(layout.columns)
    names = None if block is None else layout.header
    if layout.kind == "dat":  # with ":" as delimiter, a::b has the fields a, "" and b
        names = [name for role in layout.header for name in (role, _GAP + role)][:-1]
    gaps = [_GAP + role for role in layout.header[:-1]] if layout.kind == "dat" else []
    failure = None
    for id_type in (pa.int32(), pa.int64(), _STRINGS) if layout.grouplens else (_STRINGS,):
        for time_type in _time_types(layout):
            types = {"user": id_type, "movie": id_type, "rating": pa.float32(), "timestamp": time_type}
            try:
                table = pa_csv.read_csv(
                    str(layout.path) if block is None else pa.BufferReader(block),
                    pa_csv.ReadOptions(column_names=names, use_threads=block is None),
                    pa_csv.ParseOptions(
                        delimiter=layout.delimiter[0],
                        quote_char=False if layout.kind == "dat" else '"',
                        newlines_in_values=not layout.grouplens,
                    ),
                    pa_csv.ConvertOptions(
                        column_types={columns[role]: types[role] for role in columns} | dict.fromkeys(gaps, pa.null()),
                        include_columns=[*columns.values(), *gaps],
                        null_values=check.MISSING,
                        strings_can_be_null=True,
                    ),
                )
                return {role: table.column(name) for role, name in columns.items()}
            except pa.ArrowInvalid as error:
                failure = failure or error
                if "conversion error" not in str(error):
                    raise
    raise failure


def _time_types(layout: Layout) -> tuple[pa.DataType, ...]:
    """Candidate types of the timestamps, judging by the first row."""
    name = layout.columns.get("timestamp")
    if name is None:
        return (pa.int64(),)
    with open_text(layout.path) as file:
        rows = check.text_rows(layout, file)
        first = next((row[layout.header.index(name)] for _, row in rows if len(row) == len(layout.header)), "")
    if check.as_number(first) is not None:
        return (pa.int64(), pa.float64())
    zoned = first.endswith("Z") or "+" in first
    return (pa.timestamp("us", tz="UTC" if zoned else None),)


def _read_parquet(layout: Layout) -> dict[str, pa.ChunkedArray]:
    return parquet_columns(layout, pq.read_table(layout.path, columns=list(layout.columns.values())))


def parquet_columns(layout: Layout, table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns of a Parquet table by role."""
    columns = {role: table.column(name) for role, name in layout.columns.items()}
    if "rating" in columns:
        columns["rating"] = columns["rating"].cast(pa.float32(), safe=False)
    for role in ("user", "movie"):
        if pa.types.is_floating(columns[role].type) or pa.types.is_integer(columns[role].type):
            columns[role] = columns[role].cast(pa.int64())
    return columns


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    """Converts integers, floats, dates, times or ISO 8601 strings to int64 seconds since 1970."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_timestamp(column.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return column.cast(pa.int64()).to_numpy() // per_second
    if pa.types.is_floating(column.type):
        column = pc.floor(column)
    return column.cast(pa.int64()).to_numpy()
