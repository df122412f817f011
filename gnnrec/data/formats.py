"""Detects the layout of a ratings file (delimiter, role of each column) and locates its movies file.

Known layouts are GroupLens' ``ratings.csv`` / ``movies.csv`` (ml-latest-small, ml-20m, ml-25m, ml-32m), their ``::``
files (ml-1m, ml-10m) and Kaggle's ``rating.csv`` / ``movie.csv``. Any other CSV or Parquet file works too: its columns
are guessed from usual names or given by option.
"""

from __future__ import annotations

import csv
import dataclasses
import glob
import gzip
import re
import zlib
from pathlib import Path
from typing import TextIO

from gnnrec.errors import UserError

RATINGS_FILES = ("ratings.csv", "rating.csv", "ratings.dat", "ratings.csv.gz", "rating.csv.gz", "ratings.parquet")
MOVIES_BESIDE = {  # known ratings file -> movies files looked for in the same directory
    "ratings.csv": ("movies.csv",),
    "ratings.csv.gz": ("movies.csv", "movies.csv.gz"),
    "rating.csv": ("movie.csv",),
    "rating.csv.gz": ("movie.csv", "movie.csv.gz"),
    "ratings.dat": ("movies.dat",),
    "ratings.parquet": ("movies.parquet",),
}
RATINGS_ROLES = ("user", "movie", "rating", "timestamp")
MOVIES_ROLES = ("movie", "title", "genres")
#: Further columns of a file of pairs are ignored.
PAIRS_ROLES = ("user", "movie")
ALL_ROLES = tuple(dict.fromkeys(RATINGS_ROLES + MOVIES_ROLES))
READING_ERRORS = (OSError, EOFError, zlib.error)

_USUAL_NAMES = {  # compared in lower case, letters only
    "user": ("userid", "user", "uid", "customerid", "reviewerid", "memberid"),
    "movie": ("movieid", "movie", "itemid", "item", "iid", "productid", "asin", "parentasin", "bookid"),
    "rating": ("rating", "ratings", "score", "stars", "overall", "value"),
    "timestamp": ("timestamp", "time", "ts", "unixreviewtime", "datetime", "date"),
    "title": ("title", "name", "movietitle"),
    "genres": ("genres", "genre", "categories", "category"),
}
_OPTIONAL = ("timestamp", "title", "genres")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Layout of one input file.

    Attributes:
        path: The file.
        kind: ``csv`` (any delimiter), ``dat`` (``::`` as delimiter, no header) or ``parquet``.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``, ``title``, ``genres``) -> column name.
        header: All column names in file order.
        delimiter: One character; ``::`` for ``dat``.
        grouplens: A GroupLens or Kaggle layout: its rating scale is known and ids of mixed types are an error.
    """

    path: Path
    kind: str
    columns: dict[str, str]
    header: list[str]
    delimiter: str = ","
    grouplens: bool = False


def is_gzip(path: Path) -> bool:
    """Returns whether the file name ends in ``.gz``."""
    return path.name.endswith(".gz")


def open_text(path: Path) -> TextIO:
    """Opens a text file, decompressed if its name ends in ``.gz``; bytes that are not UTF-8 become surrogates."""
    opener = gzip.open if is_gzip(path) else open
    return opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")


def locate_ratings(path: Path) -> Path:
    """Returns the ratings file: ``path`` itself, or the known ratings file in the directory ``path``."""
    path = Path(path).expanduser()
    if path.is_dir():
        for name in RATINGS_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(
            f"{path}: none of {', '.join(RATINGS_FILES)} is in this directory: name the file with --ratings"
        )
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path given to --ratings")
    return path


def locate_all_ratings(path: Path) -> list[Path]:
    """Returns the ratings file, or all of them for a pattern or a directory without a known ratings file.

    Raises:
        UserError: No file matches.
    """
    path = Path(path).expanduser()
    if path.is_dir() and not any((path / name).is_file() for name in RATINGS_FILES):
        files = [file for file in sorted(path.iterdir()) if _may_be_ratings(file)]
        return files or [locate_ratings(path)]
    if not path.exists() and glob.has_magic(str(path)):
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
        if not files:
            raise UserError(f"{path}: no file matches: check the pattern given to --ratings")
        return files
    return [locate_ratings(path)]


def _may_be_ratings(path: Path) -> bool:
    """Accepts visible text and Parquet files that are not named like movies files (Spark's ``_SUCCESS`` is hidden)."""
    is_data = path.name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz", ".dat", ".parquet", ".pq"))
    is_movies = any(path.name in names for names in MOVIES_BESIDE.values())
    return is_data and not is_movies and not path.name.startswith((".", "_")) and path.is_file()


def locate_movies(ratings: Path) -> Path | None:
    """Returns the known movies file next to a known ratings file, or None."""
    for name in MOVIES_BESIDE.get(ratings.name, ()):
        if (ratings.parent / name).is_file():
            return ratings.parent / name
    return None


def detect_layout(path: Path, roles: tuple[str, ...], named: dict[str, str | None]) -> Layout:
    """Detects the layout of a file from its name and first line.

    Args:
        path: A ratings file, a movies file or a file of pairs.
        roles: :data:`RATINGS_ROLES`, :data:`MOVIES_ROLES` or :data:`PAIRS_ROLES`.
        named: Role -> column name given by option, or None to guess it.

    Raises:
        UserError: The file is missing, unreadable or empty, or a column cannot be found.
    """
    if path.suffix in (".parquet", ".pq"):
        header, kind, delimiter = _parquet_header(path), "parquet", ""
    else:
        line = _first_line(path)
        fields, names = line.count("::") + 1, RATINGS_ROLES if roles == PAIRS_ROLES else roles
        if fields > 1 and len(roles) - 1 <= fields <= len(names):
            header, kind, delimiter = list(names[:fields]), "dat", "::"
        else:
            delimiter = max(",\t;|", key=line.count)
            header, kind = next(csv.reader([line], delimiter=delimiter)), "csv"
    columns = _match_columns(path, header, roles, named)
    any_named = any(named.get(role) for role in roles)
    grouplens = not any_named and (
        kind == "dat" or [header[i] for i in range(min(3, len(header)))] == _GROUPLENS_HEADER
    )
    return Layout(path, kind, columns, header, delimiter, grouplens)


_GROUPLENS_HEADER = ["userId", "movieId", "rating"]
#: Characters at the beginning of a file among which text has no zero byte.
_START = 8192
#: Control characters that no header has.
_CONTROL = re.compile("[\x01-\x08\x0e-\x1f]")


def _first_line(path: Path) -> str:
    try:
        with open_text(path) as file:
            start = file.read(_START)
            file.seek(0)
            line = next((line for line in file if line.strip()), "")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except READING_ERRORS as error:
        raise unreadable(path, error) from None
    if start.startswith("PAR1"):
        raise UserError(f"{path} is a Parquet file under another name: rename it to {path.stem}.parquet")
    if "\0" in start or _CONTROL.search(line) or start.startswith("PK\3\4"):
        kind = "an archive or a spreadsheet" if start.startswith("PK") else "binary content"
        raise UserError(
            f"{path} is not a CSV or Parquet file ({kind}): unpack it or save it as CSV or Parquet, and pass that file"
        )
    if not line:
        raise UserError(f"{path} is empty: check that it was copied or downloaded completely")
    return line.rstrip("\r\n")


def _parquet_header(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path).names
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> UserError:
    """Error for a file that the system or the decompressor cannot read."""
    reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    return UserError(f"{path} cannot be read ({reason}): check that it is complete and that you have permission")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _match_columns(path: Path, header: list[str], roles: tuple[str, ...], named: dict[str, str | None]) -> dict:
    columns = {}
    for role in roles:
        name = named.get(role)
        guesses = _USUAL_NAMES[role]
        if role == "movie" and "title" in roles:  # the id column may have another name than in the ratings file
            name, guesses = name if name in header else None, (*guesses, "id")
        if name is None:
            usual = {"".join(filter(str.isalpha, column.lower())): column for column in reversed(header)}
            name = next((usual[guess] for guess in guesses if guess in usual), None)
            if name is None and role in _OPTIONAL:
                continue
        if name is None or name not in header:
            if all(_is_number(field) for field in header):
                raise UserError(
                    f"{path} line 1: only numbers ({', '.join(header)}) where a header is expected: add a first line "
                    "with the names of the columns, such as userId,movieId,rating"
                )
            missing = f"column {name!r}" if name else f"{role} column"
            raise UserError(f"{path} line 1: no {missing} among {', '.join(header)}: name it with --{role}-column")
        if header.count(name) > 1:
            raise UserError(f"{path} line 1: column {name!r} occurs more than once: rename one of them")
        columns[role] = name
    names = list(columns.values())
    for role, name in columns.items():
        if names.count(name) > 1:
            raise UserError(f"{path} line 1: column {name!r} is used for more than one role: set --{role}-column")
    return columns
