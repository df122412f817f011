"""The layout of one input file: its format, and the role of each column."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from pathlib import Path
from typing import Any, TextIO

from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory

RATINGS_ROLES = ("user", "movie", "rating", "timestamp")
MOVIES_ROLES = ("movie", "title", "genres")
#: Files of features have one column of ids.
FEATURES_ROLES = (("user",), ("movie",))
#: Further columns of a file of pairs are ignored.
PAIRS_ROLES = ("user", "movie")
ALL_ROLES = tuple(dict.fromkeys(RATINGS_ROLES + MOVIES_ROLES))
#: Roles of raw ids.
ID_ROLES = ("user", "movie")
READING_ERRORS = (OSError, EOFError, zlib.error)
#: Fields of missing values.
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "\\N"]
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST = 40  # characters of a value in a message


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of one input file.

    Attributes:
        path: The file.
        kind: ``csv`` (any delimiter), ``dat`` (``::`` as delimiter), ``json`` (one record per line), ``netflix`` (lines
            ``MOVIE:`` before the rows of a movie), ``netflix_titles`` (titles with commas) or ``parquet``.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``, ``title``, ``genres``) -> column name.
        header: All column names in file order; those of Hive directories come last.
        delimiter: One character; ``::`` for ``dat``.
        grouplens: A GroupLens or Kaggle layout: its rating scale is known and ids of mixed types are an error.
        header_lines: Lines up to the end of the header; 0 if the first line is a row.
        quoted: Fields may be quoted.
        typed: The header names the type of each column, as in ``user_id:token`` (RecBole).
        partition: Column -> value, from directories such as ``year=2014`` (Hive).
        time_unit: Unit of the timestamps (see :mod:`gnnrec.data.reading.times`).
        text_ids: Roles whose ids are text even if all of them are digits.
        integer_ids: Roles whose columns have a type of integers (Parquet, JSON).
        split: The split of all rows, for a file that was given as one; else None.
        implicit: Rows have no rating: each one is an event, and events of a pair of user and movie are counted.
        not_rated: Ratings that stand for "not rated"; their rows are left out.
    """

    path: Path
    kind: str
    columns: dict[str, str]
    header: list[str]
    delimiter: str = ","
    grouplens: bool = False
    header_lines: int = 1
    quoted: bool = True
    typed: bool = False
    partition: dict[str, str] = dataclasses.field(default_factory=dict)
    time_unit: str = "s"
    text_ids: frozenset[str] = frozenset()
    integer_ids: frozenset[str] = frozenset()
    split: int | None = None
    implicit: bool = False
    not_rated: tuple[float, ...] = ()

    @property
    def stored(self) -> dict[str, str]:
        """Role -> name of the columns that are in the file itself."""
        return {role: name for role, name in self.columns.items() if name not in self.partition}

    @property
    def row_unit(self) -> str:
        """The word for a row in messages."""
        return "row" if self.kind == "parquet" else "line"


def is_gzip(path: Path) -> bool:
    """Returns whether the file name ends in ``.gz``."""
    return path.name.endswith(".gz")


def open_text(path: Path) -> TextIO:
    """Opens a text file, decompressed if its name ends in ``.gz``; bytes that are not UTF-8 become surrogates."""
    opener = gzip.open if is_gzip(path) else open
    return opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")


def unreadable(path: Path, error: Exception) -> UserError:
    """Error for a file that the system or the decompressor cannot read; raises the error of a lack of memory again."""
    reraise_out_of_memory(error)
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return UserError(
        f"{path} cannot be read ({shown(reason, 120)}): check that it is complete and that you have permission"
    )


def as_number(value: Any) -> float | None:
    """Parses a field as a number (NaN and infinities included); returns None if it is not one."""
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def is_missing(value: object) -> bool:
    """Returns whether a field stands for a missing value."""
    if isinstance(value, str):
        return value.strip() in MISSING
    return value is None or value != value


def shown(value: object, longest: int = _LONGEST) -> str:
    """Text of a value for a message, on one line and shortened."""
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(value))
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shown_names(names: list[str]) -> str:
    """Column names, or fields of a first line, for a message: at most ten, shortened."""
    few = [shown(name) for name in names[:10]]
    return ", ".join([*few, *([f"... ({len(names)} in all)"] if len(names) > 10 else [])])
