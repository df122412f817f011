"""A table of features: ids and columns as they are in files, and the place of a row for messages."""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data.features.node_features import Node
from gnnrec.data.layout import Layout, open_text, shown
from gnnrec.data.reading.rows import text_rows
from gnnrec.errors import UserError

_REPAIR = "correct or remove that row"
#: Integers, also as floats: 7.0 is 7.
_INTEGRAL = r"^-?[0-9]+(\.0+)?$"


@dataclasses.dataclass
class TableFile:
    """A file that a table was read from.

    Attributes:
        path: The file.
        rows: Number of its rows.
        layout: Layout of a text file, whose lines can be counted; None for others, or if rows have been grouped.
        grouped: The rows of the table are not those of the file.
    """

    path: Path
    rows: int
    layout: Layout | None = None
    grouped: bool = False


@dataclasses.dataclass
class FeatureTable:
    """Columns of one file, or of several with the same columns.

    Attributes:
        node: Type of nodes.
        files: The files, in the order of the rows.
        id_name: Name of the column of ids, for messages.
        ids: Raw ids, trimmed strings or integers ``[rows]``, all distinct.
        columns: Name -> column as it is in the file; a two-dimensional array holds vectors.
        kinds: Name -> kind, where the layout of the files tells it; as ``--feature-types`` has it.
    """

    node: Node
    files: list[TableFile]
    id_name: str
    ids: pa.Array
    columns: dict[str, pa.Array | np.ndarray]
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names of the files, for messages."""
        more = f" and {len(self.files) - 1:,} more" if len(self.files) > 1 else ""
        return f"{self.files[0].path.name}{more}"

    @property
    def num_rows(self) -> int:
        return len(self.ids)

    def place(self, row: int) -> str:
        """File and line, or row, of a row of the table."""
        ends = np.cumsum([file.rows for file in self.files]).tolist()
        file = self.files[number := min(bisect_right(ends, row), len(ends) - 1)]
        row -= ends[number - 1] if number else 0
        if file.grouped:
            return f"{file.path} {self.node} {shown(self.ids[row])}"
        if file.layout is None:
            return f"{file.path} row {row + 1}"
        with open_text(file.path) as text:
            rows = (line for line, fields in text_rows(file.layout, text))
            return f"{file.path} line {next(line for number, line in enumerate(rows) if number == row)}"

    def error(self, row: int, problem: str) -> UserError:
        """Error for a row: its place, and what is wrong."""
        return UserError(f"{self.place(row)}: {problem}")


def check_ids(table: FeatureTable) -> None:
    """Trims the ids of a table.

    Raises:
        UserError: One is missing, or occurs twice.
    """
    ids = table.ids
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_floating(ids.type) and pc.all(pc.equal(ids, pc.floor(ids))).as_py() is not False:
        ids = ids.cast(pa.int64(), safe=False)
    if pa.types.is_nested(ids.type) or pa.types.is_boolean(ids.type):
        raise table.error(
            0,
            f"column '{shown(table.id_name)}' holds {ids.type}, not ids: name that of the ids with "
            f"--{table.node}-column",
        )
    if not pa.types.is_integer(ids.type):
        ids = pc.utf8_trim_whitespace(ids.cast(pa.string()))
        ids = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)
        has_point = pc.any(pc.match_substring(ids, ".")).as_py()
        if has_point and pc.all(pc.match_substring_regex(ids, _INTEGRAL)).as_py():
            ids = pc.replace_substring_regex(ids, r"\.0+$", "")
    table.ids = ids
    if ids.null_count:
        row = int(np.flatnonzero(ids.is_null().to_numpy(zero_copy_only=False))[0])
        raise table.error(row, f"the {table.node} id is missing: {_REPAIR}")
    codes = ids.dictionary_encode().indices.to_numpy()
    distinct, first = np.unique(codes, return_index=True)
    if len(distinct) < len(codes):
        again = np.ones(len(codes), bool)
        again[first] = False
        row = int(np.flatnonzero(again)[0])
        before = table.place(int(first[np.searchsorted(distinct, codes[row])]))
        raise table.error(row, f"{table.node} id {shown(ids[row])} occurs twice (before in {before}): {_REPAIR}")


def integer_ids(ids: pa.Array) -> pa.Array:
    """Converts ids of a table to int64; null where one is no integer of 64 bits in canonical form."""
    if pa.types.is_integer(ids.type):
        return ids.cast(pa.int64(), safe=False)
    digits, is_integer = pc.utf8_ltrim(ids, "-"), pc.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,18})$")
    fits = pc.or_(pc.less(pc.utf8_length(digits), 19), pc.less_equal(digits, str(2**63 - 1)))
    return pc.if_else(pc.and_(is_integer, fits), ids, pa.scalar(None, pa.string())).cast(pa.int64())


def rows_of(table: FeatureTable, raw: pa.ChunkedArray) -> np.ndarray:
    """Finds the row of each node in a table.

    Args:
        table: The table.
        raw: Raw ids of the dataset, int64 or strings.

    Returns:
        int64 ``[nodes]``; -1 for a node that is not in the table.
    """
    ids = table.ids
    ids = integer_ids(table.ids) if pa.types.is_integer(raw.type) else ids.cast(pa.string())
    return pc.fill_null(pc.index_in(raw, value_set=ids), -1).to_numpy().astype(np.int64)
