"""Titles and genres of the rated movies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data import ml_100k
from gnnrec.data.column_names import TYPED
from gnnrec.data.features.table import integer_ids
from gnnrec.data.formats import detect_layout
from gnnrec.data.layout import MOVIES_ROLES, READING_ERRORS, Layout, open_text, shown, unreadable
from gnnrec.data.reading.rows import MalformedRow, text_rows
from gnnrec.data.reading.strings import encoding_of, read_strings
from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory

_NO_GENRES = "(no genres listed)"


def movie_table(raw: np.ndarray, path: Path | None, named: dict[str, str | None]) -> tuple[pd.DataFrame, int]:
    """Builds the movie table of the prepared dataset.

    Args:
        raw: Raw ids of the rated movies in row order, int64 or object (strings).
        path: A movies file, or None.
        named: Role (``movie``, ``title``, ``genres``) -> column name given by option; ``columns`` -> all names.

    Returns:
        Columns ``row``, ``movie``, ``title``, ``genres``, and the number of movies that are in the file. A movie that
        is not in the file gets its raw id as title and no genres.

    Raises:
        UserError: The movies file is unreadable, malformed or has no ids.
    """
    text = pd.Index([str(movie) for movie in raw])
    titles: pd.Series = pd.Series(text)
    genres = pd.Series("", index=range(len(raw)))
    matched = 0
    if path is not None:
        listed = _read(detect_layout(path, MOVIES_ROLES, named), raw.dtype != object)
        listed = listed.sort_values(["movie", "title", "genres"]).drop_duplicates("movie").set_index("movie")
        matched = int(text.isin(listed.index).sum())
        listed = listed.reindex(text)
        titles = pd.Series(np.where(listed["title"] == "", text, listed["title"].fillna(pd.Series(text, index=text))))
        genres = listed["genres"].fillna("").replace(_NO_GENRES, "")
    table = pd.DataFrame(
        {
            "row": np.arange(len(raw)),
            "movie": raw if raw.dtype != object else pd.Series(raw, dtype="str"),
            "title": np.asarray(titles, dtype=object),
            "genres": np.asarray(genres, dtype=object),
        }
    )
    return table.astype({"title": "str", "genres": "str"}), matched


def listed_ids(path: Path, named: dict[str, str | None], kind: pa.DataType) -> pa.Array:
    """Reads the ids of a movies file, distinct, in their order: those that fit the type of the ids of a dataset.

    Args:
        path: The movies file.
        named: As in :func:`movie_table`.
        kind: int64 or string.

    Raises:
        UserError: The file is unreadable, malformed or has no ids.
    """
    has_integers = pa.types.is_integer(kind)
    ids = pc.unique(pa.array(_read(detect_layout(path, MOVIES_ROLES, named), has_integers)["movie"], pa.string()))
    return pc.unique(integer_ids(ids).drop_null()) if has_integers else ids.cast(kind)


def _read(layout: Layout, has_integers: bool) -> pd.DataFrame:
    """Reads all movies of a file as strings; missing titles and genres are "". With integers, 7.0 is 7."""
    try:
        if layout.kind == "parquet":
            with pq.ParquetFile(layout.path) as file:
                table = file.read(columns=list(layout.columns.values()))
        elif layout.kind == "csv" and layout.header != ml_100k.ITEM_HEADER:
            table = read_strings(layout, list(layout.columns.values()), encoding_of(layout))
        else:
            table = _read_rows(layout)
        columns = {role: _text(table.column(name)) for role, name in layout.columns.items()}
    except (pa.ArrowException, MalformedRow) as error:
        reraise_out_of_memory(error)
        _raise_first_error(layout, str(error))
    except READING_ERRORS as error:
        raise unreadable(layout.path, error) from None
    if columns["movie"].null_count:
        _raise_first_error(layout)
    columns["movie"] = pc.utf8_trim_whitespace(columns["movie"])
    if has_integers:
        columns["movie"] = pc.replace_substring_regex(columns["movie"], r"^(-?[0-9]+)\.0+$", r"\1")
    if "genres" in columns:
        columns["genres"] = _split_tokens(layout, columns["genres"])
    elif layout.header == ml_100k.ITEM_HEADER:
        columns["genres"] = table.column("genres")
    empty = pa.chunked_array([pa.array([""] * len(columns["movie"]))])
    return pd.DataFrame({role: columns.get(role, empty).to_pandas().fillna("").astype(object) for role in MOVIES_ROLES})


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Converts a column to strings; elements of lists are joined by ``|``."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), "|")
    return column.cast(pa.string())


def _split_tokens(layout: Layout, genres: pa.ChunkedArray) -> pa.ChunkedArray:
    """Separates the genres of RecBole's files by ``|``; they are separated by blanks there."""
    match = TYPED.fullmatch(layout.columns["genres"])
    if match is None or match[2] != "token_seq" or pc.any(pc.match_substring(genres, "|")).as_py():
        return genres
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(genres), r"\s+", "|")


def _read_rows(layout: Layout) -> pa.Table:
    values: dict[str, list[str | None]] = {name: [] for name in layout.columns.values()}
    is_ml_100k = layout.header == ml_100k.ITEM_HEADER
    if is_ml_100k:
        values["genres"] = []
    encoding = encoding_of(layout)
    with open_text(layout.path) as file:
        for number, fields in text_rows(layout, file):
            if len(fields) != len(layout.header):
                raise _malformed(layout, number, fields)
            for name in layout.columns.values():
                values[name].append(_field(fields[layout.header.index(name)], encoding))
            if is_ml_100k:
                values["genres"].append(ml_100k.join_genres(fields[-len(ml_100k.GENRES) :]))
    return pa.table({name: pa.array(column, pa.string()) for name, column in values.items()})


def _field(value: Any, encoding: str) -> str | None:
    if value is None or value == "":
        return None
    text = "|".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.encode("utf-8", "surrogateescape").decode(encoding)


def _malformed(layout: Layout, number: int, fields: list[str]) -> UserError:
    return UserError(
        f"{layout.path} line {number}: malformed row ({len(fields)} fields, not {len(layout.header)}): "
        "correct or remove that row"
    )


def _raise_first_error(layout: Layout, reason: str = "a movie id is missing") -> NoReturn:
    if layout.kind != "parquet":
        try:
            with open_text(layout.path) as file:
                for number, fields in text_rows(layout, file):
                    if len(fields) != len(layout.header):
                        raise _malformed(layout, number, fields)
                    if fields[layout.header.index(layout.columns["movie"])] in (None, ""):
                        raise UserError(
                            f"{layout.path} line {number}: the movie id is missing: correct or remove that row"
                        )
        except MalformedRow as error:
            raise UserError(
                f"{layout.path} line {error.line}: malformed row ({shown(error, 80)}): correct or remove that row"
            ) from None
    reason = re.sub(r"\s+", " ", reason.splitlines()[0]).rstrip(". ")
    raise UserError(f"{layout.path} cannot be read ({shown(reason, 120)}): correct the file")
