"""Reads a file of user-movie pairs in blocks, and finds the rows of raw ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gnnrec.data import check, ids
from gnnrec.data.formats import detect_layout
from gnnrec.data.layout import PAIRS_ROLES
from gnnrec.data.out_of_core.input_splits import make_input_splits, read_columns
from gnnrec.data.read import explain_errors
from gnnrec.errors import UserError


class IdIndex:
    """Rows of raw ids.

    Args:
        raw: Raw ids in row order, whole numbers or strings.

    Attributes:
        has_integers: The ids are whole numbers.
    """

    def __init__(self, raw: pa.Array) -> None:
        self._index = pd.Index(raw.to_pandas())
        self.has_integers = pa.types.is_integer(raw.type)

    def rows(self, encoded: ids.EncodedIds) -> np.ndarray:
        """Returns the row of each pair's id, int64; -1 if it is unknown. The id 7 is the same as number and text."""
        return self.rows_of(encoded.raw)[encoded.codes]

    def rows_of(self, raw: np.ndarray) -> np.ndarray:
        """Returns the row of each raw id, int64; -1 if it is unknown.

        Args:
            raw: int64 or object (strings).
        """
        if self.has_integers and raw.dtype == object:
            fitting = [position for position, text in enumerate(raw) if ids.is_integral(text)]
            rows = np.full(len(raw), -1, np.int64)
            values = [int(raw[position].strip().split(".")[0]) for position in fitting]
            rows[fitting] = self._index.get_indexer(np.array(values, np.int64))
            return rows
        if not self.has_integers and raw.dtype != object:
            raw = raw.astype(str).astype(object)
        return self._index.get_indexer(raw).astype(np.int64)


@dataclasses.dataclass(frozen=True)
class PairBlock:
    """Some rows of a file of pairs.

    Attributes:
        user: Encoded user ids.
        movie: Encoded movie ids.
        ids: Column ``user`` and ``movie`` -> raw ids in row order, of the same type in all blocks.
    """

    user: ids.EncodedIds
    movie: ids.EncodedIds
    ids: dict[str, pa.Array]


class PairsFile:
    """A CSV or Parquet file of pairs, also gzipped, which is read once to check it.

    Args:
        path: The file.
        columns: Role (``user``, ``movie``) -> name of its column; None is guessed.
        rows: Pairs in memory at a time.

    Attributes:
        count: Number of pairs.
        types: Column -> int64 if all its ids are whole numbers, otherwise string.

    Raises:
        UserError: A missing or malformed file, a missing column or id, or no pairs.
    """

    def __init__(self, path: Path, columns: dict[str, str | None], rows: int) -> None:
        if Path(path).is_dir():
            raise UserError(f"{path} is a directory: pass one file of pairs")
        layout = detect_layout(Path(path).expanduser(), PAIRS_ROLES, columns)
        # Ids of text are compared as text, also in files with GroupLens' names: 007 is not 7.
        self._layout, self._rows = dataclasses.replace(layout, grouplens=False), rows
        self.path, self.count, self.types = layout.path, 0, dict.fromkeys(PAIRS_ROLES, pa.int64())
        for block in self._encoded():
            self.count += len(block["user"].codes)
            self.types |= {role: pa.string() for role in PAIRS_ROLES if block[role].raw.dtype == object}
        if not self.count:
            raise UserError(f"{self.path} has no pairs (only a header): check that it is complete")

    def blocks(self) -> Iterator[PairBlock]:
        """Yields all pairs in order."""
        for block in self._encoded():
            yield PairBlock(**block, ids={role: self._ids(role, block[role]) for role in PAIRS_ROLES})

    def _ids(self, role: str, encoded: ids.EncodedIds) -> pa.Array:
        text = self.types[role] == pa.string()
        raw = encoded.raw.astype(str).astype(object) if text and encoded.raw.dtype != object else encoded.raw
        return pa.array(raw, self.types[role]).take(pa.array(encoded.codes))

    def _encoded(self) -> Iterator[dict[str, ids.EncodedIds]]:
        with explain_errors(self._layout):
            for split in make_input_splits([self._layout], self._rows):
                for columns in read_columns(self._layout, split, self._rows):
                    if any(column.null_count for column in columns.values()):
                        check.raise_first_error(self._layout)
                    if len(columns["user"]):
                        text = self._layout.text_ids
                        yield {role: ids.encode(columns[role], role in text) for role in PAIRS_ROLES}
