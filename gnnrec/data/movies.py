"""Titles and genres of the rated movies."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gnnrec.data import check
from gnnrec.data.formats import MOVIES_ROLES, READING_ERRORS, Layout, detect_layout, open_text, unreadable
from gnnrec.errors import UserError

_NO_GENRES = "(no genres listed)"


def movie_table(raw: np.ndarray, path: Path | None, named: dict[str, str | None]) -> pd.DataFrame:
    """Builds the movie table of the prepared dataset.

    Args:
        raw: Raw ids of the rated movies in row order, int64 or object (strings).
        path: A movies file, or None.
        named: Role (``movie``, ``title``, ``genres``) -> column name given by option.

    Returns:
        Columns ``row``, ``movie``, ``title``, ``genres``. A movie that is not in the file gets its raw id as title
        and no genres.

    Raises:
        UserError: The movies file is unreadable, malformed or has no ids.
    """
    text = pd.Index([str(movie) for movie in raw])
    titles: pd.Series = pd.Series(text)
    genres = pd.Series("", index=range(len(raw)))
    if path is not None:
        listed = _read(detect_layout(path, MOVIES_ROLES, named)).sort_values(["movie", "title", "genres"])
        listed = listed.drop_duplicates("movie").set_index("movie").reindex(text)
        titles = pd.Series(np.where(listed["title"] == "", text, listed["title"].fillna(pd.Series(text, index=text))))
        genres = listed["genres"].fillna("").replace(_NO_GENRES, "")
    return pd.DataFrame(
        {
            "row": np.arange(len(raw)),
            "movie": raw if raw.dtype != object else pd.Series(raw, dtype="str"),
            "title": np.asarray(titles, dtype=object),
            "genres": np.asarray(genres, dtype=object),
        }
    ).astype({"title": "str", "genres": "str"})


def _read(layout: Layout) -> pd.DataFrame:
    """Reads all movies of a file as strings; missing titles and genres are ""."""
    try:
        if layout.kind == "parquet":
            table = pq.read_table(layout.path, columns=list(layout.columns.values()))
        else:
            table = _read_text(layout)
        columns = {role: table.column(name).cast(pa.string()) for role, name in layout.columns.items()}
    except pa.ArrowException as error:
        _raise_first_error(layout, str(error))
    except READING_ERRORS as error:
        raise unreadable(layout.path, error) from None
    if columns["movie"].null_count:
        _raise_first_error(layout)
    empty = pa.chunked_array([pa.array([""] * len(columns["movie"]))])
    return pd.DataFrame({role: columns.get(role, empty).to_pandas().fillna("").astype(object) for role in MOVIES_ROLES})


def _read_text(layout: Layout) -> pa.Table:
    encoding = "utf-8"
    with open_text(layout.path) as file:  # ml-1m is in latin-1
        if any("\ud800" <= letter <= "\udfff" for line in file for letter in line if letter > "\u00ff"):
            encoding = "latin-1"
    if layout.kind == "dat":
        return _read_double_colons(layout, encoding)
    return pa_csv.read_csv(
        str(layout.path),
        pa_csv.ReadOptions(encoding=encoding),
        pa_csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(layout.columns.values(), pa.string()),
            include_columns=list(layout.columns.values()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _read_double_colons(layout: Layout, encoding: str) -> pa.Table:
    rows = []
    with open(layout.path, encoding=encoding, newline="") as file:
        for number, fields in check.text_rows(layout, file):
            if len(fields) != len(layout.header):
                raise _malformed(layout, number, fields)
            rows.append(fields)
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(layout.header)})


def _malformed(layout: Layout, number: int, fields: list[str]) -> UserError:
    return UserError(
        f"{layout.path} line {number}: malformed row ({len(fields)} fields, not {len(layout.header)}): "
        "correct or remove that row"
    )


def _raise_first_error(layout: Layout, reason: str = "a movie id is missing") -> NoReturn:
    if layout.kind != "parquet":
        with open_text(layout.path) as file:
            for number, fields in check.text_rows(layout, file):
                if len(fields) != len(layout.header):
                    raise _malformed(layout, number, fields)
                if not fields[layout.header.index(layout.columns["movie"])]:
                    raise UserError(f"{layout.path} line {number}: the movie id is missing: correct or remove that row")
    raise UserError(f"{layout.path} cannot be read ({reason.splitlines()[0].rstrip('. ')}): correct the file")
