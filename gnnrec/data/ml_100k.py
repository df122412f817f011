"""The files of MovieLens 100k, which have no header: ``u.data``, its published splits, and ``u.item``."""

from __future__ import annotations

import re
from pathlib import Path

from gnnrec.data.layout import as_number

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
ITEM_HEADER = ["movie", "title", "release date", "video release date", "url", *GENRES]
_RATINGS = re.compile(r"u\.data|u[1-5ab]\.(base|test)")
_RATINGS_HEADER = ["user", "movie", "rating", "timestamp"]


def is_ratings(path: Path) -> bool:
    """Returns whether a file has the name of ml-100k's ratings or of one of its published splits."""
    return _RATINGS.fullmatch(path.name) is not None


def header(path: Path, line: str) -> list[str] | None:
    """Names of the columns of a file of ml-100k; None for other files.

    Args:
        path: The file.
        line: Its first line.
    """
    if is_ratings(path) and [as_number(field) is not None for field in line.split("\t")] == [True] * 4:
        return _RATINGS_HEADER
    if path.name == "u.item" and line.count("|") == len(ITEM_HEADER) - 1:
        return ITEM_HEADER
    return None


def join_genres(flags: list[str]) -> str:
    """The genres of a movie from its flags, ``0`` or ``1`` in the order of :data:`GENRES`; ``unknown`` is none."""
    return "|".join(name for name, flag in zip(GENRES, flags) if flag == "1" and name != GENRES[0])
