"""Movies without ratings in a dataset, with features alone: those of its catalog, and those of further files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data.arrow_numbers import numbers
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.shard_check import AGAIN
from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory
from gnnrec.utils.stored import check_recorded

#: File of a prepared dataset with the movies of its catalog that have no ratings.
UNRATED_FILE = "unrated_movies.parquet"


@dataclasses.dataclass(frozen=True)
class NewMovies:
    """Movies with features and without ratings.

    Attributes:
        table: ``movie`` (raw id), ``title`` and ``genres`` (strings, ``|`` between).
        x: float32 ``[movies, columns]``, with the columns of the dataset.
    """

    table: pa.Table
    x: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    @property
    def ids(self) -> pa.ChunkedArray:
        """Raw ids, int64 or strings."""
        return self.table["movie"]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of ids and features."""
        digest = hashlib.sha256("\n".join(map(str, self.ids.to_pylist())).encode())
        digest.update(np.ascontiguousarray(self.x).data)
        return digest.hexdigest()

    def only(self, kept: np.ndarray) -> NewMovies:
        """Selects movies by a mask, bool ``[movies]``."""
        return NewMovies(self.table.filter(pa.array(kept)), self.x[kept])

    def followed_by(self, others: NewMovies) -> NewMovies:
        """Appends other movies."""
        return NewMovies(pa.concat_tables([self.table, others.table]), np.concatenate([self.x, others.x]))


def write_unrated(directory: Path, table: pa.Table, blocks: Iterable[np.ndarray]) -> None:
    """Writes the movies of a catalog that have no ratings beside the other files of a prepared dataset.

    Args:
        directory: The directory.
        table: ``movie``, ``title``, ``genres``.
        blocks: Features of consecutive movies, float32 ``[n, columns]`` each.
    """
    writer, first = None, 0
    try:
        for x in blocks:
            values = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), x.shape[1])
            block = table.slice(first, len(x)).combine_chunks().append_column("x", values)
            writer = writer or pq.ParquetWriter(directory / UNRATED_FILE, block.schema)
            writer.write_table(block)
            first += len(x)
    finally:
        if writer is not None:
            writer.close()


def read_unrated(dataset: PreparedDataset) -> NewMovies | None:
    """Reads the movies of a dataset's catalog that have no ratings; None if there are none.

    Movies that had none when the dataset was prepared, and have been appended to it since, are left out.

    Raises:
        UserError: The file is damaged.
    """
    entry, features = dataset.manifest.files.get(UNRATED_FILE), dataset.features("movie")
    if entry is None or features is None:
        return None
    path = dataset.path(UNRATED_FILE)
    check_recorded(path, entry, AGAIN, sizes=False)
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        column = table["x"].combine_chunks()
        x = numbers(column.values).reshape(len(table), features.x.shape[1])
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        reraise_out_of_memory(error)
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): {AGAIN}") from None
    if x.dtype != np.float32 or not np.isfinite(x).all():
        raise UserError(f"{path} is damaged (features are not finite float32 numbers): {AGAIN}")
    rated = pc.is_in(table["movie"].combine_chunks(), value_set=dataset.table("movies")["movie"].combine_chunks())
    found = NewMovies(table.select(["movie", "title", "genres"]), x).only(~rated.to_numpy(zero_copy_only=False))
    return found if len(found) else None
