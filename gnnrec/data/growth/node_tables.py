"""Tables and features of users and movies that are appended to a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data.blocks import blocks
from gnnrec.data.features.new_movies import read_unrated
from gnnrec.data.features.new_nodes import encode_new_nodes
from gnnrec.data.features.node_features import NODES, FeatureGroup, Node, NodeFeatures, features_file, write_schema
from gnnrec.data.manifest_builder import user_table
from gnnrec.data.movies import movie_table
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError

#: Nodes whose features are copied at a time.
_BLOCK = 1 << 16


def write_users(dataset: PreparedDataset, new: np.ndarray, directory: Path) -> None:
    """Writes ``users.parquet`` with new users after the others; raw ids ``new`` are int64 or object (strings)."""
    _append_rows(dataset.table("users"), user_table(dataset.num_users, new), directory / "users.parquet")


def _append_rows(before: pa.Table, new: pd.DataFrame, path: Path) -> None:
    rows = pa.Table.from_pandas(new, preserve_index=False)
    pq.write_table(pa.concat_tables([before.select(rows.column_names).cast(rows.schema), rows]), path)


def write_movies(
    dataset: PreparedDataset, new: np.ndarray, path: Path | None, named: dict[str, str | None], directory: Path
) -> int:
    """Writes ``movies.parquet`` with new movies after the others; titles and genres of ``path`` replace older ones.

    Args:
        dataset: The dataset before.
        new: Raw ids of the new movies, int64 or object (strings).
        path: A movies file, or None.
        named: Names of its columns.
        directory: Where the table is written.

    Returns:
        Number of movies of the dataset that are in the file.

    Raises:
        UserError: The movies file is unreadable or malformed.
    """
    if path is None:
        table, _ = movie_table(new, None, named)
        table["row"] += dataset.num_movies
        _name_from_catalog(table, dataset)
        _append_rows(dataset.table("movies"), table, directory / "movies.parquet")
        return 0
    before = dataset.movies
    known = before["movie"].to_numpy()
    raw = np.concatenate([known.astype(new.dtype), new])
    table, listed = movie_table(raw, path, named)
    without = movie_table(raw, None, named)[0]
    unlisted = (table["title"] == without["title"]).to_numpy() & (table["genres"] == "").to_numpy()
    kept = np.flatnonzero(unlisted[: len(before)])
    for name in ("title", "genres"):
        column = table[name].to_numpy(object)
        column[kept] = before[name].to_numpy(object)[kept]
        table[name] = pd.Series(column, dtype="str")
    table.to_parquet(directory / "movies.parquet", index=False)
    return listed


def _name_from_catalog(table: pd.DataFrame, dataset: PreparedDataset) -> None:
    """Gives new movies the titles and genres that the dataset's catalog has for them."""
    unrated = read_unrated(dataset)
    if unrated is None:
        return
    catalog = unrated.table.to_pandas().set_index("movie")
    listed = table["movie"].isin(catalog.index)
    for name in ("title", "genres"):
        values = table[name].to_numpy(object)
        values[listed] = catalog[name].reindex(table["movie"][listed]).to_numpy(object)
        table[name] = pd.Series(values, dtype="str")


def write_features(
    dataset: PreparedDataset,
    tables: dict[Node, list[str]],
    new: dict[Node, np.ndarray],
    id_names: dict[Node, str | None],
    directory: Path,
) -> None:
    """Writes features with rows for new nodes, and those of nodes in tables; constants of encoding stay.

    Args:
        dataset: The dataset before.
        tables: Files of features; new movies that they do not have take those of the dataset's catalog, if any.
        new: Raw ids of new nodes.
        id_names: Column of ids in tables, or None.
        directory: Where files are written.

    Raises:
        UserError: The dataset has no features of these nodes, or a table does not fit.
    """
    schemas: dict[str, tuple[int, tuple[FeatureGroup, ...]]] = {}
    for node in NODES:
        features = dataset.features(node)
        if features is None:
            if tables[node]:
                raise UserError(
                    f"--{node}-features: {dataset.directory} was prepared without features of {node}s: leave it out, "
                    "or prepare all files anew"
                )
            continue
        rows = len(features.x) + len(new[node])
        schemas[node] = rows, features.schema
        if node == "movie" and not len(new[node]) and not tables[node]:
            continue  # the file stays; that of users has a checksum for each shard, and shards have changed
        ids = dataset.table(f"{node}s")[node]
        given: list[tuple[pa.ChunkedArray, np.ndarray]] = []
        if node == "movie" and (unrated := read_unrated(dataset)) is not None:
            given.append((unrated.ids, unrated.x))
        if tables[node]:
            found = encode_new_nodes(features, tables[node], not pa.types.is_integer(ids.type), id_names[node])
            given.append((found.ids, found.x))
        _write(features, ids, new[node], given, directory)
    if schemas:
        write_schema(directory, schemas)


def write_rows(dataset: PreparedDataset, rows: dict[Node, np.ndarray], directory: Path) -> None:
    """Writes features with other rows; constants of encoding stay.

    Args:
        dataset: The dataset before.
        rows: Type of nodes -> its rows before, in their new order, int64. Others keep their rows.
        directory: Where files are written.
    """
    schemas: dict[str, tuple[int, tuple[FeatureGroup, ...]]] = {}
    for node in NODES:
        if (features := dataset.features(node)) is None:
            continue
        schemas[node] = len(rows.get(node, features.x)), features.schema
        if node in rows:
            features.check()
            with open(directory / features_file(node), "wb") as file:
                _write_header(file, (len(rows[node]), features.x.shape[1]))
                for block in blocks(len(rows[node]), _BLOCK):
                    file.write(features.x[rows[node][block]].data)
    if schemas:
        write_schema(directory, schemas)


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _write(
    features: NodeFeatures,
    known: pa.ChunkedArray,
    new: np.ndarray,
    given: list[tuple[pa.ChunkedArray, np.ndarray]],
    directory: Path,
) -> None:
    """Writes the array of one type of nodes, a block at a time; of given ids and features the last ones count."""
    missing = np.zeros(features.x.shape[1], np.float32)
    for group in features.schema:
        if group.details.get("missing"):
            missing[group.first + group.columns - 1] = 1
    new_ids = pa.array(new, known.type)
    shape = (len(features.x) + len(new), features.x.shape[1])
    with open(directory / features_file(features.node), "wb") as file:
        _write_header(file, shape)
        for block in blocks(len(features.x), _BLOCK):
            x = features.read(block.start, block.stop)
            _fill(x, known.slice(block.start, block.stop - block.start), given)
            file.write(x.data)
        x = np.tile(missing, (len(new), 1))
        _fill(x, pa.chunked_array([new_ids]), given)
        file.write(np.ascontiguousarray(x, np.float32).view(np.uint8).data)


def _fill(x: np.ndarray, ids: pa.ChunkedArray, given: list[tuple[pa.ChunkedArray, np.ndarray]]) -> None:
    """Replaces rows by those that are given for their ids."""
    for given_ids, values in given:
        if len(ids):
            position = pc.fill_null(pc.index_in(ids, value_set=given_ids), -1).to_numpy()
            x[position >= 0] = values[position[position >= 0]]
