"""Writes single files of an export: rows of users or movies, and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.inference.user_encoder import Vectors


def write_rows(
    kind: str, ids: pd.Series, vectors: Vectors, dtype: str, columns: dict[str, np.ndarray], path: Path
) -> None:
    """Writes one Parquet file.

    Args:
        kind: Name of the column of raw ids, ``user`` or ``movie``.
        ids: Raw ids.
        vectors: ``embedding`` and ``bias`` of the rows.
        dtype: Type of the embeddings.
        columns: Further columns.
        path: The file.
    """
    block = vectors.vector.cpu().numpy().astype(dtype)
    table = pa.table(
        {
            kind: pa.array(ids),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), block.shape[1]),
            "bias": pa.array(vectors.bias.cpu().numpy().astype(np.float32)),
        }
    )
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


def write_arrays(arrays: dict[str, Any], path: Path) -> None:
    """Writes arrays by name to an ``.npz`` file."""
    with open(path, "wb") as file:  # given a path, NumPy would append its own suffix
        np.savez(file, **arrays)
