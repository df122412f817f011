"""Tables of features of users or of movies: reads and parses them, and writes the array of a prepared dataset."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.blocks import blocks
from gnnrec.data.features.categories import CategoryColumn
from gnnrec.data.features.guess import guess_kind
from gnnrec.data.features.kinds import BLOCK, Column, FeatureSettings, FittedColumn, Unusable, encode_nodes, fit_nodes
from gnnrec.data.features.node_features import FeatureGroup, Node, features_file, weights_file
from gnnrec.data.features.parse import parse
from gnnrec.data.features.report import NodeReport
from gnnrec.data.features.table import FeatureTable, integer_ids, rows_of
from gnnrec.data.features.types_option import DROP, FeatureTypes
from gnnrec.data.layout import shown
from gnnrec.data.threads import in_threads
from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """A column that features come from.

    Attributes:
        name: Its name.
        table: Its table.
        column: The parsed column.
        constants: Constants of its kind.
    """

    name: str
    table: FeatureTable
    column: Column
    constants: FittedColumn


@dataclasses.dataclass
class FeatureTables:
    """Parsed tables of one type of nodes.

    Attributes:
        node: Type of nodes.
        tables: The tables, without their columns.
        columns: Parsed columns of each table, by name.
        kinds: Name -> kind, as ``--feature-types`` has it.
        dropped: Name -> why the column is left out.
        fitted: Columns that :meth:`write` has written, in their order.
    """

    node: Node
    tables: list[FeatureTable]
    columns: list[dict[str, Column]]
    kinds: dict[str, str]
    dropped: dict[str, str]
    fitted: list[_Fitted] = dataclasses.field(default_factory=list)

    @staticmethod
    def parse(node: Node, tables: list[FeatureTable], types: FeatureTypes, least: int) -> FeatureTables:
        """Parses all columns by the kinds that are given, known from the layout, or guessed.

        Args:
            node: Type of nodes.
            tables: The tables; their columns are emptied to free memory early.
            types: Kinds that are given.
            least: Nodes of a category for it to have a column.

        Raises:
            UserError: A value does not fit its kind.
        """
        parsed = FeatureTables(node, tables, [], {}, {})
        for table in tables:
            names, columns = list(table.columns), {}
            results = in_threads(functools.partial(_parse, table, types, least), names)
            for name, result in zip(names, results):
                if isinstance(result, str):
                    parsed.dropped[name] = result
                else:
                    parsed.kinds[name], columns[name] = result
            parsed.columns.append(columns)
        return parsed

    def write(
        self,
        directory: Path,
        raw: pa.ChunkedArray,
        trained: np.ndarray,
        settings: FeatureSettings,
        keep_unrated: bool = False,
    ) -> NodeReport:
        """Writes the array and its weights.

        Args:
            directory: Directory with the other files of the dataset.
            raw: Raw ids of the dataset in row order, int64 or strings.
            trained: Nodes with training ratings, bool ``[nodes]``.
            settings: Options of encoding.
            keep_unrated: Whether nodes without ratings are kept, for the report.

        Returns:
            The schema, and what there is to report.

        Raises:
            UnknownFeatureIds: No id of a table is one of the dataset.
        """
        report = NodeReport(self.node, len(raw), dropped=dict(self.dropped))
        has_features = np.zeros(len(raw), bool)
        self.fitted = []
        for table, columns in zip(self.tables, self.columns):
            rows = rows_of(table, raw)
            train_rows = rows[trained]
            has_features |= rows >= 0
            report.add_unknown(table, rows, keep_unrated)
            for name, column in columns.items():
                try:
                    self.fitted.append(_Fitted(name, table, column, fit_nodes(column, train_rows, settings)))
                except Unusable as error:
                    report.dropped[name] = str(error)
        report.nodes_with_features = int(has_features.sum())
        report.schema, weights = _schema(self.fitted)
        if report.schema:
            with open(
                directory / features_file(self.node), "wb"
            ) as file:  # a full disk ends writing to a map by a signal
                self._write_array(file, raw)
            if len(weights):
                np.save(directory / weights_file(self.node), weights, allow_pickle=False)
        return report

    def unknown_ids(self, raw: pa.ChunkedArray) -> pa.Array:
        """Ids of the tables that are not in the dataset, in the order of the tables: distinct, of its type."""
        own = [_typed(table, raw.type) for table in self.tables]
        ids = pc.unique(pa.chunked_array(own, raw.type).drop_null())
        return ids.filter(pc.invert(pc.is_in(ids, value_set=raw.combine_chunks())))

    def encoded(self, raw: pa.ChunkedArray) -> Iterator[np.ndarray]:
        """Encodes nodes with the constants of the written columns.

        Args:
            raw: Raw ids, of the type of those of the dataset; nodes that are in no table have no values.

        Yields:
            float32 ``[n, columns]`` of consecutive nodes.
        """
        rows = {id(table): rows_of(table, raw) for table in self.tables}
        widths = [fitted.constants.width + bool(fitted.constants.details["missing"]) for fitted in self.fitted]
        ends = np.cumsum([0, *widths]).tolist()
        for block in blocks(len(raw), BLOCK):
            x = np.empty((block.stop - block.start, ends[-1]), np.float32)
            for fitted, first, end in zip(self.fitted, ends, ends[1:]):
                x[:, first:end] = encode_nodes(fitted.column, rows[id(fitted.table)][block], fitted.constants)
            yield x

    def _write_array(self, file: BinaryIO, raw: pa.ChunkedArray) -> None:
        """Writes the array of features, float32 ``[nodes, columns]``, a block of nodes at a time."""
        width = sum(fitted.constants.width + bool(fitted.constants.details["missing"]) for fitted in self.fitted)
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
            "fortran_order": False,
            "shape": (len(raw), width),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for x in self.encoded(raw):
            file.write(x.data)


def _typed(table: FeatureTable, kind: pa.DataType) -> pa.Array:
    """The ids of a table as those of the dataset: int64, null where one is no integer, or strings."""
    return integer_ids(table.ids) if pa.types.is_integer(kind) else table.ids.cast(kind)


def _parse(table: FeatureTable, types: FeatureTypes, least: int, name: str) -> tuple[str, Column] | str:
    """Parses a column of a table and removes it there; returns its kind and itself, or why it is left out."""
    given = types.given(table.node, name)
    try:
        kind = given or types.of_others(table.node) or table.kinds.get(name) or guess_kind(name, table.columns[name])
    except Unusable as error:
        return str(error)
    if kind == DROP:
        return f"its kind is {DROP}"
    column = parse(table, name, kind)
    if given is not None and given.startswith("category"):
        _check_categories(table, name, column, least)
    table.columns[name] = pa.nulls(0)
    return kind, column


def _schema(every: list[_Fitted]) -> tuple[tuple[FeatureGroup, ...], np.ndarray]:
    """The groups of all columns, and their weights, one after another: float32 ``[weights]``."""
    groups: list[FeatureGroup] = []
    weights: list[np.ndarray] = []
    first = start = 0
    for fitted in every:
        constants = fitted.constants
        details = dict(constants.details)
        if constants.weights is not None:
            details["weights"] = [start, *constants.weights.shape]
            weights.append(constants.weights.ravel())
            start += constants.weights.size
        columns = constants.width + bool(details["missing"])
        groups.append(FeatureGroup(fitted.name, fitted.column.kind, first, columns, details))
        first += columns
    return tuple(groups), np.concatenate([np.zeros(0, np.float32), *weights])


def _check_categories(table: FeatureTable, name: str, column: Column, least: int) -> None:
    """Refuses a column that was given as categories, and has one for almost every row."""
    assert isinstance(column, CategoryColumn)
    known = column.codes[column.codes >= 0]
    most = int(np.bincount(known).max()) if len(known) else least
    if most < least:
        called, where = shown(name), f"{table.files[0].path}: column '{shown(name)}'"
        raise UserError(
            f"{where}: none of the {len(column.names):,} categories occurs {least} times in {table.num_rows:,} rows: "
            f"read it as text ({called}=text), leave it out ({called}={DROP}), or lower --feature-count"
        )
