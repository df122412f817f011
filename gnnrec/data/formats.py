"""Detects the layout of a ratings file or a movies file: its format, its delimiter, and the role of each column.

Known layouts are GroupLens' ``ratings.csv`` / ``movies.csv`` (ml-latest-small, ml-20m, ml-25m, ml-32m), their ``::``
files (ml-1m, ml-10m), ml-100k, Kaggle's ``rating.csv`` / ``movie.csv``, the Netflix Prize and RecBole's ``.inter`` /
``.item``. Any other CSV, Parquet file or file with a JSON record on each line works too: its columns are guessed from
usual names or given by option.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import ml_100k
from gnnrec.data.column_names import is_typed, is_usual_header, match_columns
from gnnrec.data.layout import (
    FEATURES_ROLES,
    ID_ROLES,
    MOVIES_ROLES,
    RATINGS_ROLES,
    READING_ERRORS,
    Layout,
    as_number,
    open_text,
    shown,
    shown_names,
    unreadable,
)
from gnnrec.data.locate import hive_partition
from gnnrec.data.reading import times
from gnnrec.data.reading.rows import MOVIE_LINE, MalformedRow, first_rows, json_records
from gnnrec.errors import UserError

_GROUPLENS_HEADER = ["userId", "movieId", "rating"]
_NETFLIX_HEADER = ["movie", "user", "rating", "date"]
_NETFLIX_TITLES = re.compile(r"\d+,(\d{4}|NULL),.+")
#: Characters at the beginning of a file among which text has no zero byte.
_START = 8192
#: Control characters that no header has.
_CONTROL = re.compile("[\x01-\x08\x0e-\x1f]")
#: Records of a JSON file whose names are the columns.
_RECORDS = 100
#: A column of ``--columns`` that is not read.
_IGNORED = "-"


def detect_layout(path: Path, roles: tuple[str, ...], named: Mapping[str, str | None]) -> Layout:
    """Detects the layout of a file from its name and first rows.

    Args:
        path: A ratings file, a movies file or a file of pairs.
        roles: :data:`RATINGS_ROLES`, :data:`MOVIES_ROLES`, :data:`PAIRS_ROLES` or some of the ratings' roles.
        named: Role -> column name given by option, or None to guess it. ``columns`` is the list of all names, separated
            by commas, of a file without a header.

    Raises:
        UserError: The file is missing, unreadable or empty, or a column cannot be found.
    """
    partition = hive_partition(path)
    given = _given_names(named.get("columns"))
    if path.suffix in (".parquet", ".pq"):
        schema = _parquet_schema(path)
        layout = Layout(path, "parquet", {}, schema.names, "", header_lines=0)
        first_row = ["0" if _is_number(field.type) else "text" for field in schema]
    else:
        layout, first_row = _text_layout(path, roles, given)
    if given and layout.kind not in ("csv", "dat"):
        raise UserError(f"{path} has names of columns: omit --columns, and name one with --user-column or the like")
    header = [*layout.header, *(name for name in partition if name not in layout.header)]
    partition = {name: value for name, value in partition.items() if name not in layout.header}
    columns = match_columns(path, header, roles, dict(named), first_row, layout.header_lines > 0, tuple(partition))
    any_named = given or any(named.get(role) for role in roles)
    grouplens = not any_named and (layout.kind == "dat" or header[:3] == _GROUPLENS_HEADER or layout.grouplens)
    layout = dataclasses.replace(
        layout, columns=columns, header=header, partition=partition, grouplens=grouplens, typed=is_typed(header)
    )
    if given:
        _refuse_header(layout, roles)
    return layout if roles in (MOVIES_ROLES, *FEATURES_ROLES) else _with_types(layout)


def with_ids(layouts: list[Layout], ids: str) -> list[Layout]:
    """Decides which ids of all files are text: those of columns of text, unless another file has integers.

    Args:
        layouts: The files.
        ids: ``text`` makes all ids text; ``auto`` goes by the columns' types.
    """
    every = frozenset(ID_ROLES)
    text_ids = frozenset().union(*(layout.text_ids for layout in layouts))
    text_ids = every if ids == "text" else text_ids.difference(*(layout.integer_ids for layout in layouts))
    return [dataclasses.replace(layout, text_ids=text_ids) for layout in layouts]


def _with_types(layout: Layout) -> Layout:
    """Adds the unit of times and the types of ids, judging by the schema and the first rows."""
    text_ids: set[str] = set()
    integer_ids: set[str] = set()
    try:
        sample = first_rows(layout)
        schema = pq.read_schema(layout.path) if layout.kind == "parquet" else None
    except (pa.ArrowException, *READING_ERRORS) as error:
        raise unreadable(layout.path, error) from None
    values = {role: [row[layout.header.index(name)] for row in sample] for role, name in layout.columns.items()}
    for role in ID_ROLES:
        if schema is not None and role in layout.stored:
            kind = schema.field(layout.columns[role]).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            (integer_ids if _is_number(kind) else text_ids).add(role)
        elif layout.kind == "json" and values[role]:
            (text_ids if any(isinstance(value, str) for value in values[role]) else integer_ids).add(role)
        elif layout.grouplens and any(re.match(r"\s*0\d", str(value)) for value in values[role]):
            text_ids.add(role)
    unit = times.detect_unit(values["timestamp"]) if "timestamp" in values else "s"
    return dataclasses.replace(layout, time_unit=unit, text_ids=frozenset(text_ids), integer_ids=frozenset(integer_ids))


def _text_layout(path: Path, roles: tuple[str, ...], given: list[str]) -> tuple[Layout, list[str]]:
    """The layout of a text file without roles, and the fields of its second line if the first one may be a header."""
    lines, header_lines, has_zero = _first_lines(path)
    line = lines[0]
    if line.lstrip().startswith("{"):
        return Layout(path, "json", {}, _json_header(path), "", header_lines=0), []
    if line.lstrip().startswith("["):
        raise UserError(
            f"{path} is one JSON array: write one record on each line (jq -c '.[]' FILE), and pass that file"
        )
    if MOVIE_LINE.fullmatch(line):
        return Layout(path, "netflix", {}, _NETFLIX_HEADER, header_lines=0, quoted=False), []
    if roles == MOVIES_ROLES and path.stem == "movie_titles" and _NETFLIX_TITLES.fullmatch(line):
        return Layout(path, "netflix_titles", {}, ["movie", "year", "title"], header_lines=0, quoted=False), []
    fields, names = line.count("::") + 1, MOVIES_ROLES if roles == MOVIES_ROLES else RATINGS_ROLES
    if roles not in FEATURES_ROLES and fields > 1 and (given or len(roles) - 1 <= fields <= len(names)):
        header = _check_given(path, given, line.split("::")) or list(names[:fields])
        return Layout(path, "dat", {}, header, "::", header_lines=0, quoted=False), []
    delimiter = max(",\t;|", key=line.count)
    if delimiter not in line and " " in line.strip():
        delimiter = " "
    known = ml_100k.header(path, line)
    if known and not given:
        return Layout(path, "csv", {}, known, delimiter, ml_100k.is_ratings(path), 0, quoted=False), []
    parsed = [next(csv.reader([text], delimiter=delimiter, skipinitialspace=True)) for text in lines]
    header = [name.strip() for name in parsed[0]]
    if given:
        return Layout(path, "csv", {}, _check_given(path, given, header), delimiter, header_lines=0), []
    if has_zero and not any(name.isascii() for name in header):
        raise _binary(path, "binary content")
    return Layout(path, "csv", {}, header, delimiter, header_lines=header_lines), parsed[-1] if len(parsed) > 1 else []


def _given_names(option: str | None) -> list[str]:
    """The names in ``--columns``; those that are ignored get names that no role has."""
    if option is None:
        return []
    names = [name.strip() for name in option.split(",")]
    if not all(names):
        raise UserError(f"--columns {option!r} has an empty name: write {_IGNORED} for a column that is not read")
    return [f"{_IGNORED}{position}" if name == _IGNORED else name for position, name in enumerate(names)]


def _check_given(path: Path, given: list[str], fields: list[str]) -> list[str]:
    if given and len(given) != len(fields):
        raise UserError(
            f"{path} line 1: {len(fields)} fields ({shown_names(fields)}), but --columns has {len(given)} names: "
            f"name every column, with {_IGNORED} for those that are not read"
        )
    return given


def _refuse_header(layout: Layout, roles: tuple[str, ...]) -> None:
    """Refuses ``--columns`` for a file with a header, whose names would become a row."""
    with open_text(layout.path) as file:
        line = next(line for line in file if line.strip())
    fields = [field.strip(" \r\n\"'") for field in line.split(layout.delimiter)]
    numeric = [role for role in ("rating", "timestamp") if role in layout.columns]
    positions = [layout.header.index(layout.columns[role]) for role in numeric]
    words = [fields[position] for position in positions if position < len(fields)]
    no_numbers = not any(as_number(word) is not None or word[:1].isdigit() for word in words)
    if ("rating" in roles and words and no_numbers) or is_usual_header(fields, roles):
        raise UserError(
            f"{layout.path} line 1: the first line ({shown_names(fields)}) seems to be a header, and --columns is for "
            "files without one: omit --columns"
        )


def _first_lines(path: Path) -> tuple[list[str], int, bool]:
    """The first two non-blank lines, the number of the first one, and whether there are zero bytes near them."""
    lines: list[str] = []
    number = 0
    try:
        with open_text(path) as file:
            start = file.read(_START)
            file.seek(0)
            for position, line in enumerate(file, start=1):
                if line.strip():
                    number = number or position
                    lines.append(line.rstrip("\r\n"))
                if len(lines) == 2 or position > _START:
                    break
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except READING_ERRORS as error:
        raise unreadable(path, error) from None
    if start.startswith("PAR1"):
        raise UserError(f"{path} is a Parquet file under another name: rename it to {path.stem}.parquet")
    if start.startswith("PK\3\4"):
        raise _binary(path, "an archive or a spreadsheet")
    first = lines[0] if lines else ""
    if "\0" in first or _CONTROL.search(first) or _is_binary(start):
        raise _binary(path, "binary content")
    if not lines:
        raise UserError(f"{path} is empty: check that it was copied or downloaded completely")
    return lines, number, "\0" in start


def _is_binary(start: str) -> bool:
    """Returns whether there are zero bytes in a text whose first line has no delimiter, or letters of no text."""
    first = start.splitlines()[0] if start else ""
    return "\0" in start and (not any(delimiter in first for delimiter in ",\t;|:{") or "\udc89" in first)


def _binary(path: Path, kind: str) -> UserError:
    return UserError(
        f"{path} is not a CSV or Parquet file ({kind}): unpack it or save it as CSV or Parquet, and pass that file"
    )


def _json_header(path: Path) -> list[str]:
    names: dict[str, None] = {}
    try:
        with open_text(path) as file:
            for count, (_, record) in enumerate(json_records(file)):
                names |= dict.fromkeys(record)
                if count >= _RECORDS:
                    break
    except MalformedRow as error:
        if not names:
            raise UserError(
                f"{path} line {error.line}: {shown(error, 80)}: write one JSON record on each line"
            ) from None
    return list(names)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: check the path") from None
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None
