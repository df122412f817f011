"""Known files of features: those of MovieLens and RecBole, with the kinds of their columns."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from gnnrec.data import ml_100k
from gnnrec.data.column_names import TYPED
from gnnrec.data.features.node_features import Node
from gnnrec.data.layout import Layout, as_number, is_missing, open_text, shown
from gnnrec.data.reading.rows import text_rows
from gnnrec.errors import UserError

#: Files without a header: name -> delimiter, names of the columns, and their kinds.
_HEADERLESS: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "u.user": (
        "|",
        ["user", "age", "gender", "occupation", "zip"],
        {"age": "number", "gender": "category", "occupation": "category", "zip": "category:1"},
    ),
    "users.dat": (  # ages and occupations are codes
        "::",
        ["user", "gender", "age", "occupation", "zip"],
        {"age": "category", "gender": "category", "occupation": "category", "zip": "category:1"},
    ),
    "movies.dat": ("::", ["movie", "title", "genres"], {"title": "text", "genres": "list"}),
    "tags.dat": ("::", ["userId", "movieId", "tag", "timestamp"], {}),
}
_ITEM_KINDS = {"title": "text", "release date": "date", "video release date": "date", "url": "drop", "genres": "list"}
_TAGS, _GENOME = ["userId", "movieId", "tag", "timestamp"], ["movieId", "tagId", "relevance"]
#: Types of RecBole's columns -> kinds; those of others are guessed.
_TYPES = {"float": "number", "float_seq": "vector", "token_seq": "list"}
_YEAR = r"\s*\((?P<year>\d{4})\)\s*$"


def known_layout(path: Path, line: str) -> tuple[Layout, dict[str, str]] | None:
    """The layout of a known file without a header, and the kinds of its columns; None for other files.

    Args:
        path: The file.
        line: Its first line.
    """
    if path.name in _HEADERLESS:
        delimiter, names, kinds = _HEADERLESS[path.name]
        if len(line.split(delimiter)) == len(names):
            kind = "dat" if delimiter == "::" else "csv"
            return Layout(path, kind, {}, names, delimiter, header_lines=0, quoted=False), kinds
    names = ml_100k.header(path, line) or []
    if names == ml_100k.ITEM_HEADER:
        return Layout(path, "csv", {}, names, "|", header_lines=0, quoted=False), _ITEM_KINDS
    return None


def read_grouped(
    layout: Layout, node: Node, read_columns: Callable[[Layout], pa.Table]
) -> tuple[pa.Array, str, pa.Array | np.ndarray] | None:
    """Reads files with several rows for each node: MovieLens' tags and genome.

    Args:
        layout: The file.
        node: Type of nodes.
        read_columns: Reads all columns of a file.

    Returns:
        Ids, name of the column of features, and the column; None for other files.
    """
    if layout.header == _TAGS:
        return _tags(read_columns(layout), f"{node}Id")
    return _genome(layout) if layout.header == _GENOME and node == "movie" else None


def _tags(table: pa.Table, id_name: str) -> tuple[pa.Array, str, pa.Array]:
    """The distinct tags of each node, in lower case."""
    table = table.select([id_name, "tag"]).drop_null()
    tag = pc.utf8_lower(pc.utf8_trim_whitespace(table["tag"]))
    pairs = pa.table({"id": table[id_name], "tag": tag}).group_by(["id", "tag"]).aggregate([])
    lists = pairs.sort_by([("id", "ascending"), ("tag", "ascending")]).group_by("id", use_threads=False)
    lists = lists.aggregate([("tag", "list")]).combine_chunks()
    return lists["id"].combine_chunks(), "tags", lists["tag_list"].combine_chunks()


def _genome(layout: Layout) -> tuple[pa.Array, str, np.ndarray]:
    """The relevance of all tags for each movie, float32 ``[movies, tags]``; 0 where a pair is not in the file.

    Raises:
        UserError: A value is no number, or a pair occurs twice; the message names the line.
    """
    types = {"movieId": pa.int64(), "tagId": pa.int32(), "relevance": pa.float32()}
    try:
        table = pa_csv.read_csv(
            str(layout.path),
            pa_csv.ReadOptions(column_names=layout.header, skip_rows=layout.header_lines),
            convert_options=pa_csv.ConvertOptions(column_types=types),
        )
    except pa.ArrowInvalid:
        _refuse_value(layout)
        raise
    if any(not np.isfinite(table[name].to_numpy()).all() for name in types):
        _refuse_value(layout)
    movies, row = np.unique(table["movieId"].to_numpy(), return_inverse=True)
    tags, column = np.unique(table["tagId"].to_numpy(), return_inverse=True)
    relevance, place = np.zeros(len(movies) * len(tags), np.float32), row * len(tags) + column
    is_there = np.zeros(len(relevance), bool)
    is_there[place] = True
    if is_there.sum() < len(place):
        again = np.ones(len(place), bool)
        again[np.unique(place, return_index=True)[1]] = False
        number = int(again.argmax())
        pair = f"movie {table['movieId'][number]} and tag {table['tagId'][number]}"
        raise UserError(f"{layout.path} line {_line(layout, number)}: {pair} occur twice: remove one of the rows")
    relevance[place] = table["relevance"].to_numpy()
    return pa.array(movies), "genome", relevance.reshape(len(movies), len(tags))


def _refuse_value(layout: Layout) -> None:
    """Raises a :class:`UserError` for the first value of a file of numbers that is none; returns if there is none."""
    with open_text(layout.path) as file:
        for line, fields in text_rows(dataclasses.replace(layout, columns={}), file):
            for name, field in zip(layout.header, fields):
                number = None if is_missing(field) else as_number(field)
                if number is None or not math.isfinite(number) or (name != "relevance" and number % 1):
                    kind = "a finite number" if name == "relevance" else "a whole number"
                    raise UserError(
                        f"{layout.path} line {line}: column '{name}' holds '{shown(field)}', which is not {kind}: "
                        "correct or remove that row"
                    )


def _line(layout: Layout, row: int) -> int:
    """Line of a row of a file."""
    with open_text(layout.path) as file:
        rows = text_rows(dataclasses.replace(layout, columns={}), file)
        return next(line for number, (line, _) in enumerate(rows) if number == row)


def refine(
    layout: Layout, columns: dict[str, pa.Array], kinds: dict[str, str]
) -> tuple[dict[str, pa.Array], dict[str, str]]:
    """Brings columns of known files into a usual form.

    Flags of genres become lists; types are taken from RecBole's names of columns.

    Args:
        layout: The file.
        columns: Name -> column, without the ids.
        kinds: Name -> kind, as far as it is known.
    """
    if layout.header == ml_100k.ITEM_HEADER:
        flags = zip(*(columns.pop(name).to_pylist() for name in ml_100k.GENRES))
        columns["genres"] = pa.array([ml_100k.join_genres(list(row)) for row in flags], pa.string())
    if layout.typed:
        kinds = {}
        for name in list(columns):
            match = TYPED.fullmatch(name)
            assert match is not None  # all columns are typed
            column, own = columns.pop(name), match[1]
            kind = _TYPES.get(match[2])
            if kind == "list":
                kind = "text" if "title" in own or "name" in own else kind
                if kind == "list" and not pc.any(pc.match_substring(column, "|")).as_py():
                    column = pc.replace_substring_regex(pc.utf8_trim_whitespace(column), r"\s+", "|")
            columns[own] = column
            if kind is not None:
                kinds[own] = kind
    return columns, kinds


def with_years(
    columns: dict[str, pa.Array], kinds: dict[str, str], wanted: bool | None = None
) -> tuple[dict[str, pa.Array], dict[str, str]]:
    """Takes release years out of titles into a column ``year``.

    Args:
        columns: Name -> column of a whole table.
        kinds: Name -> kind, as far as it is known.
        wanted: Whether to do it; None if most titles end with a year.
    """
    title = columns.get("title")
    if title is None or isinstance(title, np.ndarray) or not pa.types.is_string(title.type):
        return columns, kinds
    year = pc.struct_field(pc.extract_regex(title, _YEAR), "year")
    if not (year.null_count * 2 < len(title) if wanted is None else wanted):
        return columns, kinds
    columns = dict(columns, title=pc.replace_substring_regex(title, re.sub(r"\?P<year>", "", _YEAR), ""), year=year)
    return columns, {"year": "number"} | kinds
