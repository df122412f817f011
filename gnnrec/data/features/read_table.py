"""Reads files of features: CSV, JSON lines, Parquet and NumPy arrays, and joins files with the same columns."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import formats
from gnnrec.data.features.known_layouts import known_layout, read_grouped, refine, with_years
from gnnrec.data.features.node_features import Node
from gnnrec.data.features.parse import plain
from gnnrec.data.features.table import FeatureTable, TableFile, check_ids
from gnnrec.data.layout import READING_ERRORS, Layout, as_number, is_missing, open_text, shown, unreadable
from gnnrec.data.reading.rows import MalformedRow, first_rows, text_rows
from gnnrec.data.reading.strings import encoding_of, read_strings
from gnnrec.errors import UserError
from gnnrec.utils.option_names import dashed
from gnnrec.utils.resource_errors import reraise_out_of_memory
from gnnrec.utils.stored import check_regular

#: Files of a directory that are read.
_ENDINGS = (".parquet", ".pq", ".csv", ".tsv", ".csv.gz", ".jsonl", ".npy")
#: Files of ids beside an array ``NAME.npy``.
_IDS_BESIDE = ("_ids.npy", "_ids.txt")


def find_files(paths: Iterable[str | Path], node: Node) -> list[Path]:
    """The files that paths, directories and patterns name, in the order of their names.

    Raises:
        UserError: There are none.
    """
    option, files = dashed(f"{node}_features"), []
    for name in paths:
        path = Path(name).expanduser()
        matches = [path]
        if path.is_dir():
            matches = sorted(file for file in path.iterdir() if file.name.endswith(_ENDINGS) and _is_table(file))
        elif not path.exists() and glob.has_magic(str(path)):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True)) if Path(match).is_file()]
        if not matches:
            raise UserError(f"{path}: no file there can hold features: check the path given to {option}")
        for match in matches:
            check_regular(match, f"check the path given to {option}")
        files += matches
    return files


def read_tables(files: list[Path], node: Node, id_name: str | None, years: bool | None = None) -> list[FeatureTable]:
    """Reads files; those with the same columns become one table.

    Args:
        files: The files.
        node: Type of nodes.
        id_name: Column of their ids; None, or a name that a file lacks, is guessed from usual names.
        years: Whether release years are taken out of titles where no file has a column of years; None if most titles
            end with one.

    Raises:
        UserError: A file cannot be read, an id is missing or occurs twice, or two tables have a column of one name.
    """
    tables: dict[tuple[str, ...], list[FeatureTable]] = {}
    for path in files:
        table = _read(path, node, id_name)
        tables.setdefault(tuple(sorted(table.columns)), []).append(table)
    joined = [_concatenate(parts) for parts in tables.values()]
    first: dict[str, FeatureTable] = {}
    years = False if any("year" in name.lower() for table in joined for name in table.columns) else years
    for table in joined:
        check_ids(table)
        table.columns = {name: plain(column) for name, column in table.columns.items()}
        table.columns, table.kinds = with_years(table.columns, table.kinds, years)
        for name in table.columns:
            if (other := first.setdefault(name, table)) is not table:
                raise UserError(
                    f"{table.files[0].path}: column '{shown(name)}' is in {other.files[0].path} too: rename one of them"
                )
    return joined


def _is_table(path: Path) -> bool:
    return not path.name.startswith((".", "_")) and not path.name.endswith(_IDS_BESIDE) and path.is_file()


def _read(path: Path, node: Node, id_name: str | None) -> FeatureTable:
    if path.suffix == ".npy":
        return _read_array(path, node)
    layout, kinds = _layout(path, node, id_name)
    repeated = [name for name in layout.header if layout.header.count(name) > 1]
    if repeated:
        raise UserError(f"{path}: column '{shown(repeated[0])}' occurs more than once: rename one of them")
    if any(not_utf8(name) for name in layout.header):
        raise UserError(f"{path} line 1: names of columns are not UTF-8 text: convert the file to UTF-8")
    try:
        if (grouped := read_grouped(layout, node, _read_columns)) is not None:
            ids, name, column = grouped
            if not len(ids):
                raise _no_rows(path)
            return FeatureTable(node, [TableFile(path, len(ids), grouped=True)], f"{node}Id", ids, {name: column})
        table = _read_columns(layout)
    except MalformedRow as error:
        raise UserError(
            f"{path} line {error.line}: malformed row ({shown(error, 80)}): correct or remove that row"
        ) from None
    except (pa.ArrowException, UnicodeEncodeError) as error:
        reraise_out_of_memory(error)
        raise _first_error(layout, str(error)) from None
    except READING_ERRORS as error:
        raise unreadable(path, error) from None
    columns = {name: table[name].combine_chunks() for name in table.column_names if name}
    own = layout.columns[node]
    ids = columns.pop(own)
    columns, kinds = refine(layout, columns, kinds)
    if not columns:
        raise UserError(f"{path} has no column besides '{shown(own)}': pass a file with features")
    if not len(ids):
        raise _no_rows(path)
    lines = None if layout.kind == "parquet" else layout
    return FeatureTable(node, [TableFile(path, len(ids), lines)], own, ids, columns, kinds)


def not_utf8(field: object) -> bool:
    """Returns whether a field has bytes that are not UTF-8 (:func:`gnnrec.data.layout.open_text`)."""
    return any("\ud800" <= letter <= "\udfff" for letter in str(field))


def _no_rows(path: Path) -> UserError:
    return UserError(f"{path} has no rows: check that it is complete")


def _layout(path: Path, node: Node, id_name: str | None) -> tuple[Layout, dict[str, str]]:
    """The layout with the column of ids as the only role, and the kinds of columns that are known."""
    if path.suffix not in (".parquet", ".pq"):
        try:
            with open_text(path) as file:
                line = file.readline().rstrip("\r\n")
        except READING_ERRORS as error:
            raise unreadable(path, error) from None
        if (known := known_layout(path, line)) is not None:
            layout, kinds = known
            names = [name for name in layout.header if name in (node, f"{node}Id")]
            if not names:
                raise UserError(f"{path} has no {node} ids: give it to --{_other(node)}-features")
            layout.columns[node] = names[0]
            return layout, kinds
    layout = formats.detect_layout(path, (node,), {node: id_name})
    header = [name for name in layout.header if name not in layout.partition]
    if layout.columns[node] not in header:
        raise UserError(f"{path} has no column of {node} ids: add one")
    return dataclasses.replace(layout, header=header, partition={}), {}


def _other(node: Node) -> str:
    return "movie" if node == "user" else "user"


def _read_columns(layout: Layout) -> pa.Table:
    """All columns of a file: of CSV as strings, of others as they are."""
    if layout.kind == "parquet":
        with pq.ParquetFile(layout.path) as file:
            return file.read()
    if layout.kind == "csv":
        if not layout.header_lines:  # MovieLens' files without a header
            return read_strings(layout, layout.header, encoding_of(layout))
        if numbers := _fractions(layout):
            try:
                return read_strings(layout, layout.header, numbers=numbers)
            except pa.ArrowInvalid:  # further values are no numbers, or a row is wrong
                pass
        return read_strings(layout, layout.header)
    values: list[list[Any]] = [[] for _ in layout.header]
    encoding = encoding_of(layout) if layout.kind == "dat" else "utf-8"
    with open_text(layout.path) as file:
        for number, fields in text_rows(dataclasses.replace(layout, columns={}), file):  # all columns
            if len(fields) != len(layout.header):
                raise MalformedRow(number, f"{len(fields)} fields, not {len(layout.header)}")
            for column, field in zip(values, fields):
                column.append(_decoded(field, encoding) if layout.kind == "dat" else field)
    return pa.table({name: _array(column) for name, column in zip(layout.header, values)})


def _fractions(layout: Layout) -> list[str]:
    """Columns whose first values are numbers and have a decimal part: others may be codes."""
    names = []
    for name, *values in zip(layout.header, *first_rows(layout)):
        known = [value for value in values if not is_missing(value)]
        numbers = [number for value in known if (number := as_number(value)) is not None]
        if len(numbers) == len(known) and any("." in value and number % 1 for value, number in zip(known, numbers)):
            names.append(name)
    return [name for name in names if name != layout.columns.get("user") and name != layout.columns.get("movie")]


def _decoded(field: str, encoding: str) -> str:
    return field.encode("utf-8", "surrogateescape").decode(encoding)


def _array(values: list[Any]) -> pa.Array:
    """Converts values of one type, or else their text."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _first_error(layout: Layout, reason: str) -> UserError:
    """The first row with another number of fields, or with bytes that are not UTF-8."""
    if layout.kind != "parquet":
        try:
            with open_text(layout.path) as file:
                for number, fields in text_rows(dataclasses.replace(layout, columns={}), file):
                    if len(fields) != len(layout.header):
                        problem = f"malformed row ({len(fields)} fields, not {len(layout.header)})"
                        return UserError(f"{layout.path} line {number}: {problem}: correct or remove that row")
                    for name, field in zip(layout.header, fields):
                        if not_utf8(field):
                            return UserError(
                                f"{layout.path} line {number}: column '{shown(name)}' is not UTF-8 text: convert the "
                                "file to UTF-8"
                            )
        except MalformedRow as error:
            return UserError(f"{layout.path} line {error.line}: malformed row: correct or remove that row")
    return UserError(f"{layout.path} cannot be read ({shown(reason.splitlines()[0], 120)}): correct the file")


def _read_array(path: Path, node: Node) -> FeatureTable:
    """Reads vectors, mapped, and the ids beside them."""
    beside = [path.with_name(path.stem + ending) for ending in _IDS_BESIDE]
    place = next((file for file in beside if file.is_file()), None)
    if place is None:
        names = " or ".join(file.name for file in beside)
        raise UserError(f"{path}: no ids of its rows beside it: write them to {names} in the same directory")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        raw = np.load(place, allow_pickle=False) if place.suffix == ".npy" else place.read_text("utf-8").split("\n")
    except (ValueError, EOFError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({shown(str(error).splitlines()[0], 120)}): write it with numpy.save"
        ) from None
    ids = pa.array(
        raw if isinstance(raw, np.ndarray) else [line.strip() for line in raw][: -1 if not raw[-1] else None]
    )
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.shape[1]:
        raise UserError(f"{path} holds {values.dtype} {list(values.shape)}: vectors are numbers [rows, length]")
    if len(ids) != len(values):
        raise UserError(f"{place} has {len(ids):,} ids, but {path} has {len(values):,} rows: give each row its id")
    return FeatureTable(
        node, [TableFile(path, len(values))], place.name, ids, {path.stem: values}, {path.stem: "vector"}
    )


def files_beside(path: Path) -> list[Path]:
    """The file itself, and the ids beside an array."""
    beside = [path.with_name(path.stem + ending) for ending in _IDS_BESIDE] if path.suffix == ".npy" else []
    return [path, *(file for file in beside if file.is_file())][:2]


def _concatenate(parts: list[FeatureTable]) -> FeatureTable:
    """Joins the rows of parts with the same columns."""
    first = parts[0]
    if len(parts) == 1:
        return first
    arrays = [name for name in first.columns if any(isinstance(part.columns[name], np.ndarray) for part in parts)]
    if arrays:
        raise UserError(f"{parts[1].files[0].path}: '{arrays[0]}' is in {first.files[0].path} too: rename one of them")
    names = {"\0id": [part.ids for part in parts]} | {
        name: [part.columns[name] for part in parts] for name in first.columns
    }
    columns = {name: _joined(pieces, parts) for name, pieces in names.items()}
    return FeatureTable(
        first.node,
        [file for part in parts for file in part.files],
        first.id_name,
        columns.pop("\0id"),
        columns,
        {name: kind for part in parts for name, kind in part.kinds.items()},
    )


def _joined(pieces: list[pa.Array], parts: list[FeatureTable]) -> pa.Array:
    """Concatenates arrays, as strings if their types do not fit."""
    tables = [pa.table({"column": piece}) for piece in pieces]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        try:
            table = pa.concat_tables([pa.table({"column": piece.cast(pa.string())}) for piece in pieces])
        except pa.ArrowException:
            kinds = " and ".join(sorted({str(piece.type) for piece in pieces}))
            raise UserError(
                f"{parts[1].files[0].path}: its columns have other types than in {parts[0].files[0].path} ({kinds}): "
                "write them with the same types"
            ) from None
    return table["column"].combine_chunks()
