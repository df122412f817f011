"""Reads the Parquet files of an export, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.errors import UserError

#: Rows in memory at a time.
_BATCH = 65_536


def read_column(paths: list[Path], column: str) -> Iterator[pa.Array]:
    """A column of Parquet files, some rows at a time.

    Raises:
        UserError: One of them cannot be read.
    """
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH, columns=[column]):
                    yield batch.column(0)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}): export again") from None


def read_numbers(paths: list[Path], column: str) -> Iterator[np.ndarray]:
    """The same as flat arrays: lists are joined."""
    for some in read_column(paths, column):
        yield (some.flatten() if pa.types.is_fixed_size_list(some.type) else some).to_numpy(zero_copy_only=False)
