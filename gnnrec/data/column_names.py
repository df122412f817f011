"""Finds the column of each role by its usual names, and tells a header from a row and from a wide matrix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from gnnrec.data.layout import FEATURES_ROLES, MOVIES_ROLES, as_number, shown, shown_names
from gnnrec.errors import UserError

_USUAL_NAMES = {  # compared in lower case, letters only
    "user": (
        "userid", "user", "uid", "customerid", "customer", "reviewerid", "memberid", "visitorid", "personid", "profile",
        "userkey", "useruuid",
    ),
    "movie": (
        "movieid", "movie", "itemid", "item", "iid", "productid", "product", "asin", "parentasin", "bookid", "isbn",
        "animeid", "gameid", "appid", "songid", "trackid", "artistid", "businessid", "gmapid", "articleid", "newsid",
        "recipeid", "beerid", "jokeid", "videoid", "showid", "filmid", "tconst", "tmdbid", "imdbid", "itemkey",
    ),
    "rating": (
        "rating", "ratings", "score", "stars", "star", "overall", "value", "rate", "bookrating", "userrating",
        "starrating", "reviewscore", "reviewrating", "ratingscore",
    ),
    "timestamp": (
        "timestamp", "time", "ts", "unixreviewtime", "datetime", "date", "unixtime", "unixtimestamp", "reviewtime",
        "createdat", "reviewdate", "ratedat", "createdtime", "eventtime", "timestampms",
    ),
    "title": (
        "title", "name", "movietitle", "booktitle", "moviename", "itemname", "itemtitle", "producttitle", "productname",
        "originaltitle", "primarytitle", "filmtitle", "animename", "trackname", "songtitle",
    ),
    "split": (),
    "genres": ("genres", "genre", "categories", "category", "class", "moviegenres", "moviegenre", "tags"),
}  # fmt: skip
_OPTIONAL = ("timestamp", "title", "genres")
#: Types of columns in headers of RecBole, as in ``user_id:token``.
TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")
#: Columns without known names above which a table of numbers is taken for a wide matrix.
_WIDE = 12
_COLUMNS_EXAMPLE = "--columns user,movie,rating,timestamp"


def is_usual_header(fields: list[str], roles: tuple[str, ...]) -> bool:
    """Returns whether fields of a line are names that a header has: one for each role that is not optional."""
    return all(_guess(fields, role, False) for role in roles if role not in _OPTIONAL and role != "split")


def is_typed(header: list[str]) -> bool:
    """Returns whether every column of a header has a type, as in ``user_id:token``."""
    return bool(header) and all(TYPED.fullmatch(name) for name in header)


def match_columns(
    path: Path,
    header: list[str],
    roles: tuple[str, ...],
    named: dict[str, str | None],
    first_row: list[str],
    is_text: bool,
    directories: tuple[str, ...] = (),
) -> dict[str, str]:
    """Finds the column of each role.

    Args:
        path: The file, for messages.
        header: Names of all columns.
        roles: The roles; times, titles and genres may be absent.
        named: Role -> column name given by option, or None to guess it.
        first_row: Fields of the first row, as far as they are known.
        is_text: The header is the first line of a text file, which may be a row.
        directories: Columns whose values are in the names of directories; those of the file are preferred.

    Raises:
        UserError: A column is missing or ambiguous, or the header is a row of ratings.
    """
    columns: dict[str, str] = {}
    of_movies, of_features = roles == MOVIES_ROLES, roles in FEATURES_ROLES
    line = " line 1" if is_text else ""
    for role in roles:
        name = _full_name(header, named.get(role))
        if (of_features or (of_movies and role == "movie")) and name not in header:
            name = None  # it may have another name than in the ratings file
        if name is None:
            own = [column for column in header if column not in directories]
            may_be_id = of_features or (of_movies and role == "movie")
            name = _guess(own, role, of_movies, may_be_id) or _guess(header, role, of_movies, may_be_id)
            if name is None and role in _OPTIONAL:
                continue
        if name is None or name not in header:
            if of_features:
                raise _no_ids(path, header, role, is_text)
            _raise_missing(path, header, role, name, first_row, is_text, of_movies)
        if header.count(name) > 1:
            raise UserError(f"{path}{line}: column '{shown(name)}' occurs more than once: rename one of them")
        columns[role] = name
    names = list(columns.values())
    for role, name in columns.items():
        if names.count(name) > 1:
            raise UserError(f"{path}{line}: column '{shown(name)}' is used for more than one role: set --{role}-column")
        if is_text and not _may_be_header(header, [name]):
            raise _no_header(path, header, of_movies)
    if of_movies and is_text and len(columns) == 1 and not _may_be_header(header, header):
        raise _no_header(path, header, of_movies)
    return columns


def _full_name(header: list[str], name: str | None) -> str | None:
    """The name in the header that an option names, which may lack the type: ``user_id`` for ``user_id:token``."""
    typed = [full for full in header if (match := TYPED.fullmatch(full)) and match[1] == name]
    return typed[0] if name not in header and len(typed) == 1 else name


def _guess(header: list[str], role: str, of_movies: bool, may_be_id: bool = False) -> str | None:
    usual: dict[str, str] = {}
    for column in reversed(header):
        match = TYPED.fullmatch(column)
        usual["".join(filter(str.isalpha, (match[1] if match else column).lower()))] = column
    guesses = _USUAL_NAMES[role] + (("id",) if may_be_id else ())
    if name := next((usual[guess] for guess in guesses if guess in usual), None):
        return name
    endings = {"title": ("title", "name"), "genres": ("genres", "genre")} if of_movies else {}
    matches = [
        column for ending in endings.get(role, ()) for letters, column in usual.items() if letters.endswith(ending)
    ]
    return matches[0] if matches else None


def _may_be_header(header: list[str], names: list[str]) -> bool:
    """Numbers are no names of columns, except for the range 0, 1, 2, ... that pandas writes."""
    numbered = header == [str(number) for number in range(len(header))]
    return numbered or not any(as_number(name) is not None for name in names)


def _raise_missing(
    path: Path, header: list[str], role: str, name: str | None, first_row: list[str], is_text: bool, of_movies: bool
) -> NoReturn:
    if not of_movies and _is_wide(header, first_row):
        raise UserError(
            f"{path}: this seems to be a wide matrix of {len(header)} columns: what is needed is a row for each rating "
            "(reshape it, for example with pandas.melt; codes such as 99 are then left out by --not-rated 99)"
        )
    if is_text and not _may_be_header(header, header):
        raise _no_header(path, header, of_movies)
    missing = f"column '{shown(name)}'" if name else f"{role} column"
    hint = f"name it with --{role}-column"
    if role == "rating" and not name:
        hint += ", or pass --implicit if each row is a view, a click or a purchase"
    elif is_text and not of_movies:
        hint += f", or if there is no header name all columns with {_COLUMNS_EXAMPLE}"
    where = f"{path} line 1: no" if is_text else f"{path} has no"
    raise UserError(f"{where} {missing} among {shown_names(header)}: {hint}")


def _no_ids(path: Path, header: list[str], role: str, is_text: bool) -> UserError:
    """Error for a file of features without a column of ids, or without a header."""
    if is_text and not _may_be_header(header, header):
        return UserError(
            f"{path} line 1: numbers ({shown_names(header)}) where a header is expected: begin the file with a line of "
            "the names of its columns"
        )
    where = f"{path} line 1: no" if is_text else f"{path} has no"
    return UserError(f"{where} {role} column among {shown_names(header)}: name the column of ids with --{role}-column")


def _is_wide(header: list[str], first_row: list[str]) -> bool:
    """Many columns, most of them named by numbers or filled with numbers, and none with ratings or times."""
    if len(header) <= _WIDE or _guess(header, "rating", False):
        return False
    named = sum(as_number(name) is not None for name in header)
    filled = sum(not field.strip() or as_number(field) is not None for field in first_row)
    return max(named, filled) >= 0.8 * (len(header) - 1)


def _no_header(path: Path, header: list[str], of_movies: bool) -> UserError:
    only = "only numbers" if all(as_number(field) is not None for field in header) else "a row"
    option = "--movies-columns movie,title,genres" if of_movies else _COLUMNS_EXAMPLE
    return UserError(
        f"{path} line 1: {only} ({shown_names(header)}) where a header is expected, so there seems to be no header: "
        f"give the names of the columns in their order, as in {option}"
    )
