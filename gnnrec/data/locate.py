"""Locates the ratings files that a path names, and the movies file next to them."""

from __future__ import annotations

import glob
import re
import urllib.parse
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.utils.stored import check_regular, irregularity

RATINGS_FILES = (
    "ratings.csv", "rating.csv", "ratings.dat", "ratings.csv.gz", "rating.csv.gz", "ratings.parquet", "u.data",
)  # fmt: skip
_MOVIES_FILES = ("movies.csv", "movies.csv.gz", "movie.csv", "movie.csv.gz", "movies.dat", "movies.parquet")
MOVIES_BESIDE = {  # known ratings file -> movies files looked for in the same directory
    "ratings.csv": ("movies.csv",),
    "ratings.csv.gz": ("movies.csv", "movies.csv.gz"),
    "rating.csv": ("movie.csv",),
    "rating.csv.gz": ("movie.csv", "movie.csv.gz"),
    "ratings.dat": ("movies.dat",),
    "ratings.parquet": ("movies.parquet",),
}
#: Patterns of names -> movies files looked for in the same directory.
_PATTERNS_BESIDE = {
    r"u\.data|u[\dab]\.(base|test)": ("u.item",),
    r"combined_data_\d+\.txt|mv_\d+\.txt": ("movie_titles.csv", "movie_titles.txt"),
    r"ratings\.(jsonl|ndjson|json)(\.gz)?": ("movies.jsonl", "movies.ndjson", "movies.json"),
}
_DATA = re.compile(r".*\.(csv|tsv|dat|jsonl|ndjson|json)(\.gz)?|.*\.(parquet|pq|inter)|(combined_data|mv)_\d+\.txt")
_NOT_RATINGS = re.compile(r"(movie|item|book|user|tag|link|movie_title)s?\..*|.*\.(item|user)")
_HIVE = re.compile(r"([^=]+)=(.*)")


def locate_ratings(path: Path, option: str = "--ratings") -> Path:
    """Returns the ratings file: ``path`` itself, or the known ratings file in the directory ``path``.

    Args:
        path: The path.
        option: The option that named it, for messages.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        for name in RATINGS_FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(f"{path}: none of {', '.join(RATINGS_FILES)} is in this directory: name the file with {option}")
    if not path.exists():
        raise UserError(f"{path} does not exist: check the path given to {option}")
    return path


def locate_all_ratings(path: Path, option: str = "--ratings") -> list[Path]:
    """Returns the ratings file, or all of them for a pattern or a directory without a known ratings file.

    Directories named ``column=value`` (Hive) or ``*.parquet`` (Spark) are searched too.

    Args:
        path: The path.
        option: The option that named it, for messages.

    Raises:
        UserError: No file matches.
    """
    path = Path(path).expanduser()
    if path.is_dir() and not any((path / name).is_file() for name in RATINGS_FILES):
        return sorted(_data_files(path)) or [locate_ratings(path, option)]
    if not path.exists() and glob.has_magic(str(path)):
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if Path(name).is_file()]
        if not files:
            raise UserError(f"{path}: no file matches: check the pattern given to {option}")
        return files
    return [locate_ratings(path, option)]


def _data_files(directory: Path) -> list[Path]:
    """Visible data files that are not named like movies files (Spark's ``_SUCCESS`` is hidden)."""
    files: list[Path] = []
    for path in directory.iterdir():
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir() and (_HIVE.fullmatch(path.name) or path.suffix in (".parquet", ".csv")):  # Spark's, too
            files += _data_files(path)
        elif path.is_file() and _DATA.fullmatch(path.name) and not _NOT_RATINGS.fullmatch(path.name):
            files.append(path)
    return files


def hive_partition(path: Path) -> dict[str, str]:
    """Column -> value of the directories named ``column=value`` around a file."""
    matches = (_HIVE.fullmatch(part) for part in path.parent.parts)
    return {match[1]: urllib.parse.unquote(match[2]) for match in matches if match}


def locate_movies(ratings: Path, files: list[Path]) -> Path | None:
    """Returns the known movies file next to ratings files, or None.

    Args:
        ratings: The path that named the files: one of them, a directory or a pattern.
        files: The ratings files.

    Raises:
        UserError: There is something else than a file under its name.
    """
    first = files[0]
    names = MOVIES_BESIDE.get(first.name, ())
    names += next((movies for pattern, movies in _PATTERNS_BESIDE.items() if re.fullmatch(pattern, first.name)), ())
    if first.suffix == ".inter":
        names += (f"{first.name.split('.')[0]}.item",)
    if len(files) > 1:
        names += _MOVIES_FILES
    directory = ratings if ratings.is_dir() else first.parent
    found = next((directory / name for name in names if irregularity(directory / name) != "is missing"), None)
    if found is not None:
        check_regular(found, "replace it, or name the movies file with --movies")
    return found
