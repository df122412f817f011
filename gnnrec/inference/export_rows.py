"""Writes single files of an export: rows of users or movies, and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def write_rows(
    kind: str, ids: pd.Series, embedding: np.ndarray, bias: np.ndarray, columns: dict[str, np.ndarray], path: Path
) -> None:
    """Writes one Parquet file.

    Args:
        kind: Name of the column of raw ids, ``user`` or ``movie``.
        ids: Raw ids.
        embedding: ``[rows, dim]``, in the type to write.
        bias: ``[rows]``.
        columns: Further columns; those of bytes ``[rows, bytes]`` become binary values of fixed size.
        path: The file.
    """
    table = pa.table(
        {
            kind: pa.array(ids),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), embedding.shape[1]),
            "bias": pa.array(bias.astype(np.float32)),
        }
    )
    for name, values in columns.items():
        table = table.append_column(name, _binary(values) if values.ndim == 2 else pa.array(values))
    pq.write_table(table, path)


def _binary(values: np.ndarray) -> pa.Array:
    """Returns bytes ``[rows, size]`` as binary values."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, buffer])


def write_arrays(arrays: dict[str, Any], path: Path) -> None:
    """Writes arrays by name to an ``.npz`` file."""
    with open(path, "wb") as file:  # given a path, NumPy would append its own suffix
        np.savez(file, **arrays)
