"""Encodes nodes that are not in a prepared dataset, such as new movies, as those in it were encoded."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.features.kinds import Column, FittedColumn, encode_nodes
from gnnrec.data.features.node_features import FeatureGroup, NodeFeatures
from gnnrec.data.features.parse import parse
from gnnrec.data.features.read_table import find_files, read_tables
from gnnrec.data.features.table import FeatureTable, integer_ids, rows_of
from gnnrec.data.features.vectors import VectorColumn
from gnnrec.data.layout import shown, shown_names
from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class NewNodes:
    """Nodes with features.

    Attributes:
        ids: Raw ids, int64 or strings ``[nodes]``, distinct.
        x: float32 ``[nodes, columns]``, with the columns of the dataset.
        texts: Columns of the files that have text, in the order of the ids: name -> strings ``[nodes]``.
    """

    ids: pa.Array
    x: np.ndarray
    texts: dict[str, pa.Array] = dataclasses.field(default_factory=dict)


def encode_new_nodes(
    features: NodeFeatures, paths: Iterable[str | Path], text_ids: bool, id_name: str | None = None
) -> NewNodes:
    """Reads tables with the columns of those that a dataset was prepared with; further columns are ignored.

    Nodes of the dataset get the features that they have there, if their rows are the same.

    Args:
        features: Features of the dataset, whose constants are used.
        paths: Files, directories and patterns, as ``gnnrec prepare`` takes them.
        text_ids: Raw ids of the dataset are text, not integers.
        id_name: Column of the ids; None, or a name that a file lacks, is guessed.

    Raises:
        UserError: A column is missing, a value does not fit, or an id is of another kind than those of the dataset.
    """
    years = any(group.name == "year" for group in features.schema)
    tables = read_tables(find_files(paths, features.node), features.node, id_name, years)
    ids = pc.unique(pa.chunked_array([_ids(table, text_ids) for table in tables]))
    raw = pa.chunked_array([ids])
    texts = {name: text for table in tables for name, text in _texts(table, rows_of(table, raw)).items()}
    x = np.zeros((len(ids), features.x.shape[1]), np.float32)
    for group in features.schema:
        table = _table_with(tables, group)
        column, fitted = _parsed(table, group), fitted_column(features, group)
        x[:, group.slice] = encode_nodes(column, rows_of(table, raw), fitted)
    return NewNodes(ids, x, texts)


def missing_values(features: NodeFeatures) -> np.ndarray:
    """Features of a node without values, float32 ``[columns]``."""
    x = np.zeros(features.x.shape[1], np.float32)
    x[[group.slice.stop - 1 for group in features.schema if group.details.get("missing")]] = 1
    return x


def shown_columns(nodes: NewNodes) -> dict[str, pa.Array]:
    """Columns ``title`` and ``genres`` of new movies: titles with their year, ids where there is no title."""
    text_ids, nothing = nodes.ids.cast(pa.string()), pa.array([""] * len(nodes.ids), pa.string())
    title, genres = nodes.texts.get("title"), nodes.texts.get("genres")
    title = text_ids if title is None else pc.coalesce(pc.if_else(pc.equal(title, ""), None, title), text_ids)
    genres = nothing if genres is None else pc.fill_null(genres, "")
    return {"title": title, "genres": pc.if_else(pc.equal(genres, "(no genres listed)"), "", genres)}


def _texts(table: FeatureTable, rows: np.ndarray) -> dict[str, pa.Array]:
    """Titles, with the years that were taken out of them, and genres of a table, in the order of ``rows``."""
    place, found = pa.array(rows, mask=rows < 0), {}
    for name in ("title", "genres"):
        column = table.columns.get(name)
        if column is None or isinstance(column, np.ndarray):
            continue
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.binary_join(column.cast(pa.list_(pa.string())), "|")
        text = column.cast(pa.string()).take(place)
        year = table.columns.get("year")
        if name == "title" and table.kinds.get("year") == "number" and isinstance(year, pa.Array):
            year = year.cast(pa.string()).take(place)
            with_year = pc.binary_join_element_wise(text, pc.binary_join_element_wise("(", year, ")", ""), " ")
            text = pc.coalesce(with_year, text)
        found[name] = text
    return found


def fitted_column(features: NodeFeatures, group: FeatureGroup) -> FittedColumn:
    """The constants of a group, with its weights."""
    weights = None
    if "weights" in group.details:
        assert features.weights is not None  # they are written together
        first, inputs, width = group.details["weights"]
        weights = np.asarray(features.weights[first : first + inputs * width]).reshape(inputs, width)
    return FittedColumn(group.columns - bool(group.details["missing"]), group.details, weights)


def _ids(table: FeatureTable, text: bool) -> pa.Array:
    """The ids of a table as those of the dataset: strings or int64."""
    ids = table.ids.cast(pa.string()) if text else integer_ids(table.ids)
    if ids.null_count:
        row = int(np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False))[0])
        raise table.error(
            row, f"{table.node} id {shown(table.ids[row])} is not an integer, but those of the dataset are: correct it"
        )
    return ids


def _table_with(tables: list[FeatureTable], group: FeatureGroup) -> FeatureTable:
    table = next((table for table in tables if group.name in table.columns), None)
    if table is None:
        names = [name for table in tables for name in table.columns]
        near = difflib.get_close_matches(group.name, names, n=1, cutoff=0.5)
        hint = f"is '{shown(near[0])}' meant?" if near else f"the columns are {shown_names(names)}"
        raise UserError(
            f"{tables[0].files[0].path}: no column '{shown(group.name)}', which the dataset was prepared with: {hint}"
        )
    return table


def _parsed(table: FeatureTable, group: FeatureGroup) -> Column:
    letters = f":{group.details['letters']}" if "letters" in group.details else ""
    column = parse(table, group.name, f"{group.kind}{letters}")
    if isinstance(column, VectorColumn) and not column.missing.all():
        length, expected = column.values.shape[1], group.details["length"]
        if length != expected:
            row = int(np.flatnonzero(~column.missing)[0])
            raise table.error(
                row,
                f"column '{shown(group.name)}' has vectors of {length} numbers, those of the dataset have {expected}",
            )
    return column
