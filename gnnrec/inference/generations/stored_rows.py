"""Rows of users and movies in the Parquet files of an export or a delta, found by raw id."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.inference.export_parts import read_column, reading
from gnnrec.inference.small_vectors import decode, own_columns

#: Column of raw ids by the folder of the files.
ID = {"users": "user", "movies": "movie"}
#: Name -> values, an entry for each row: ``embedding`` ``[rows, dim]``, ``bias``, and
#: ``interest_norm``, ``cold``, scales of small vectors and ``signs`` ``[rows, bytes]``.
Columns = dict[str, np.ndarray]


class StoredRows:
    """Rows by raw id; one file of vectors is in memory at a time, beside all ids.

    Args:
        directory: An export or a delta.
        manifest: Its manifest.
    """

    def __init__(self, directory: Path, manifest: dict):
        self.directory, self.manifest = Path(directory), manifest
        self._read = lru_cache(maxsize=2)(self._read_file)

    def files(self, kind: str) -> list[Path]:
        """Paths of the files of ``users`` or ``movies``, in the order of their rows."""
        return [self.directory / name for name in sorted(self.manifest["files"]) if name.startswith(f"{kind}/")]

    @cached_property
    def ids(self) -> dict[str, pd.Index]:
        """Raw ids of ``users`` and ``movies``, in the order of their rows."""
        return {kind: read_ids(self.files(kind), ID[kind]) for kind in ID}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all rows, hexadecimal: equal for two exports of the same bytes."""
        names = [name for name in sorted(self.manifest["files"]) if name.startswith(("users/", "movies/", "head"))]
        content = [[name, self.manifest["files"][name]["sha256"]] for name in names] + [self.manifest["offset"]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def own(self) -> int:
        """Columns of vectors before those of interest."""
        return own_columns(self.manifest)

    def vectors(self, columns: Columns) -> np.ndarray:
        """Returns the vectors of rows, float32 ``[rows, dim]``."""
        return decode(columns, self.own)

    def rows(self, kind: str, ids: pd.Index) -> tuple[np.ndarray, Columns]:
        """Finds rows by raw id.

        Args:
            kind: ``users`` or ``movies``.
            ids: Raw ids.

        Returns:
            Whether there is a row for each id, bool ``[ids]``, and the columns, which are zeros where there is none.

        Raises:
            UserError: A file cannot be read.
        """
        position = self.ids[kind].get_indexer(ids)
        found: Columns = {}
        for number, first in enumerate(self._first_rows[kind][:-1]):
            here = np.flatnonzero((position >= first) & (position < self._first_rows[kind][number + 1]))
            if here.size or (not found and number == 0):
                for name, values in self._read(kind, number).items():
                    whole = found.setdefault(name, np.zeros((len(ids), *values.shape[1:]), values.dtype))
                    whole[here] = values[position[here] - first]
        return position >= 0, found

    @cached_property
    def _first_rows(self) -> dict[str, list[int]]:
        """First rows of the files of each kind, and the number of all rows."""
        firsts = {}
        for kind in ID:
            counts = [pq.read_metadata(path).num_rows for path in self.files(kind)]
            firsts[kind] = [0, *np.cumsum(counts).tolist()]
        return firsts

    def _read_file(self, kind: str, number: int) -> Columns:
        return read_columns(self.files(kind)[number])


def read_columns(path: Path) -> Columns:
    """Reads all columns of a file but the id.

    Raises:
        UserError: The file cannot be read.
    """
    with reading(path):
        table = pq.read_table(path)
    columns = {}
    for name in table.column_names[1:]:
        values = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(values.type):
            columns[name] = values.flatten().to_numpy().reshape(len(table), values.type.list_size)
        elif pa.types.is_fixed_size_binary(values.type):
            size = values.type.byte_width
            flat = np.frombuffer(values.buffers()[1], np.uint8) if len(values) else np.zeros(0, np.uint8)
            columns[name] = flat[values.offset * size : (values.offset + len(values)) * size].reshape(-1, size)
        else:
            columns[name] = values.to_numpy(zero_copy_only=False)
    return columns


def read_ids(paths: list[Path], column: str) -> pd.Index:
    """Reads the raw ids of files, from the column ``user`` or ``movie``; none where no file has a row."""
    chunks = list(read_column(paths, column))
    return pd.Index(pa.chunked_array(chunks).to_pandas()) if chunks else pd.Index([])
