"""Reads the Parquet files of an export in batches of rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory

#: Rows in memory at a time.
_BATCH = 65_536


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Converts errors of reading a Parquet file.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reraise_out_of_memory(error)
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}): export again") from None


def read_column(paths: list[Path], column: str) -> Iterator[pa.Array]:
    """Yields a column of Parquet files in batches of rows.

    Raises:
        UserError: A file cannot be read.
    """
    for path in paths:
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH, columns=[column]):
                yield batch.column(0)


def read_numbers(paths: list[Path], column: str) -> Iterator[np.ndarray]:
    """Yields a numeric column as flat arrays; lists are flattened."""
    for values in read_column(paths, column):
        flat = values.flatten() if pa.types.is_fixed_size_list(values.type) else values
        yield flat.to_numpy(zero_copy_only=False)
