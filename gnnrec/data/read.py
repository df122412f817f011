"""Reads ratings files into columns: encoded ids, ratings and timestamps in seconds."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data import check, ids
from gnnrec.data.layout import BYTE_ORDER_MARK, ID_ROLES, MISSING, READING_ERRORS, Layout, is_gzip, unreadable
from gnnrec.data.reading import delimited, json_lines, netflix, parquet, times
from gnnrec.data.split_given import parse_splits
from gnnrec.data.threads import in_threads
from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import is_full_disk

#: Bytes of lines that are parsed at a time.
_BLOCK = 1 << 26


@dataclasses.dataclass
class RatingColumns:
    """Checked columns of some rows of a file.

    Attributes:
        user: Raw user ids: integers, floats, strings or dictionary-encoded strings.
        movie: Raw movie ids.
        rating: float32 ``[ratings]``, finite.
        timestamp: int64 ``[ratings]`` in seconds since 1970, or None.
        split: uint8 ``[ratings]``, or None if the split is not given.
        left_out: Number of rows with a rating that stands for "not rated".
    """

    user: pa.ChunkedArray
    movie: pa.ChunkedArray
    rating: np.ndarray
    timestamp: np.ndarray | None
    split: np.ndarray | None = None
    left_out: int = 0


@dataclasses.dataclass
class Ratings:
    """Ratings in row order.

    Attributes:
        user: Encoded user ids.
        movie: Encoded movie ids.
        rating: float32 ``[ratings]``, finite.
        timestamp: int64 ``[ratings]`` in seconds since 1970, or None.
        split: uint8 ``[ratings]``, or None if the split is not given.
        file_rows: Number of ratings of each file.
        left_out: Number of rows with a rating that stands for "not rated".
    """

    user: ids.EncodedIds
    movie: ids.EncodedIds
    rating: np.ndarray
    timestamp: np.ndarray | None
    split: np.ndarray | None
    file_rows: list[int]
    left_out: int = 0


def read_ratings(layouts: list[Layout], least_users: int = 2, may_be_mixed: bool = False) -> Ratings:
    """Reads ratings files and checks them for malformed rows, missing values and infinities.

    Args:
        layouts: The files, with the same text ids (:func:`gnnrec.data.formats.with_ids`).
        least_users: Minimum number of users.
        may_be_mixed: Accept single ids of text among integers.

    Raises:
        UserError: A row is wrong; the message names the file, the line and the problem.
    """
    parts: list[list[RatingColumns]] = []
    for layout in layouts:
        with explain_errors(layout):
            parts.append([check_columns(layout, columns) for columns in read_columns(layout)])
    ratings = join(layouts[0], parts)
    if not may_be_mixed:
        refuse_mixed_ids(layouts, ratings)
    if len(ratings.user.raw) < least_users:
        raise too_few_users(layouts[0])
    return ratings


def refuse_mixed_ids(layouts: list[Layout], ratings: Ratings) -> None:
    """Refuses single ids of text among integers (:func:`gnnrec.data.check.refuse_mixed_ids`)."""
    for role in ID_ROLES:
        encoded: ids.EncodedIds = getattr(ratings, role)
        check.refuse_mixed_ids(layouts, role, encoded.integer_rows, len(ratings.rating), encoded.other_ids)


def join(layout: Layout, files: list[list[RatingColumns]]) -> Ratings:
    """Encodes ids and concatenates the parts of all files. Empties ``files`` to free memory early.

    Raises:
        UserError: There are no ratings.
    """
    file_rows = [sum(len(part.rating) for part in file) for file in files]
    left_out = sum(part.left_out for file in files for part in file)
    parts = [part for file in files for part in file if len(part.rating)]
    files.clear()
    if not parts:
        raise no_ratings(layout, left_out)
    rating = _concatenate([part.rating for part in parts])
    timestamp, split = (_concatenate([getattr(part, name) for part in parts]) for name in ("timestamp", "split"))
    assert rating is not None
    columns = {role: ids.concatenate([getattr(part, role) for part in parts]) for role in ID_ROLES}
    parts.clear()
    user, movie = in_threads(lambda role: ids.encode(columns.pop(role), role in layout.text_ids), ID_ROLES)
    return Ratings(user, movie, rating, timestamp, split, file_rows, left_out)


def _concatenate(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Concatenates arrays; None if the first one is, since all files have the same columns."""
    arrays = [part for part in parts if part is not None]
    return None if not arrays else arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def no_ratings(layout: Layout, left_out: int = 0) -> UserError:
    """Error for a file without rows, or without ratings among them."""
    if left_out:
        return UserError(f"{layout.path} has no ratings: all {left_out:,} rows have a rating of --not-rated")
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
        if is_full_disk(error):  # of what is written meanwhile
            raise
        raise unreadable(layout.path, error) from None


def read_columns(layout: Layout) -> Iterator[dict[str, pa.ChunkedArray]]:
    """Reads the columns of a whole file by role, in one part or in blocks of lines."""
    if layout.kind == "parquet":
        with pq.ParquetFile(layout.path) as table:  # read_table would take a directory year=2014 for a column
            yield with_partition(layout, parquet.columns_by_role(layout, table.read(list(layout.stored.values()))))
    elif layout.kind in ("csv", "dat"):
        yield with_partition(layout, delimited.read(layout))
    else:  # most of a file of reviews is text that is not kept
        movie: bytes | None = None
        with gzip.open(layout.path, "rb") if is_gzip(layout.path) else open(layout.path, "rb") as file:
            block = file.read(_BLOCK).removeprefix(BYTE_ORDER_MARK)
            while block := block + file.readline():
                columns, movie = read_block(layout, block, movie)
                yield with_partition(layout, columns)
                block = file.read(_BLOCK)


def read_block(layout: Layout, block: bytes, movie: bytes | None) -> tuple[dict[str, pa.ChunkedArray], bytes | None]:
    """Reads the columns of some lines of a text file by role.

    Args:
        layout: The file.
        block: Whole rows, without the header.
        movie: With Netflix's layout, the movie that the block before ended with.

    Returns:
        The columns, and the movie that the block ends with.
    """
    if layout.kind == "netflix":
        return netflix.read(layout, block, movie)
    read = json_lines.read if layout.kind == "json" else delimited.read
    return read(layout, pa.py_buffer(block)), None


def with_partition(layout: Layout, columns: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Adds the columns whose value is in the name of a directory (Hive)."""
    rows = len(next(iter(columns.values())))
    for role, name in layout.columns.items():
        if name in layout.partition:
            value = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(rows, np.int32)), pa.array([layout.partition[name]], pa.string())
            )
            columns[role] = pa.chunked_array([value])
    return columns


def check_columns(layout: Layout, columns: dict[str, pa.ChunkedArray]) -> RatingColumns:
    """Checks columns for missing values and infinities, and converts ratings and times. Empties ``columns``.

    Raises:
        UserError: A value is missing or not finite.
        pyarrow.ArrowInvalid: A value cannot be converted.
    """
    if any(column.null_count for column in columns.values()):
        check.raise_first_error(layout)
    rating = _ratings(columns.pop("rating")) if "rating" in columns else np.ones(len(columns["user"]), np.float32)
    left_out = 0
    if layout.not_rated:
        is_rated = ~np.isin(rating, np.array(layout.not_rated, np.float32))
        left_out = len(rating) - int(is_rated.sum())
        if left_out:
            rating, mask = rating[is_rated], pa.array(is_rated)
            columns.update({role: column.filter(mask) for role, column in columns.items()})
    if not np.isfinite(rating).all():
        check.raise_first_error(layout)
    timestamp = times.seconds(columns.pop("timestamp"), layout.time_unit) if "timestamp" in columns else None
    split = parse_splits(columns.pop("split")) if "split" in columns else None
    if layout.split is not None:
        split = np.full(len(rating), layout.split, np.uint8)
    user, movie = columns.pop("user"), columns.pop("movie")
    if _has_missing(user) or _has_missing(movie):
        check.raise_first_error(layout)
    return RatingColumns(user, movie, rating, timestamp, split, left_out)


def _ratings(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column).cast(pa.float64())
    return column.cast(pa.float32(), safe=False).to_numpy()


def _has_missing(column: pa.ChunkedArray) -> bool:
    """Returns whether there are ids of blanks alone, or a missing value between blanks, or NaN."""
    if pa.types.is_floating(column.type):
        return bool(np.isnan(column.to_numpy()).any())
    if pa.types.is_integer(column.type):
        return False
    missing = pa.array(MISSING)
    for chunk in column.chunks:
        values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        trimmed = pc.utf8_trim_whitespace(values.cast(pa.string()))
        is_missing = pc.is_in(trimmed, missing)
        if pa.types.is_dictionary(chunk.type) and pc.any(is_missing).as_py():
            is_missing = is_missing.take(chunk.indices)
        if pc.any(is_missing).as_py():
            return True
    return False
