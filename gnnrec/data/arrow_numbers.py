"""Numbers of Arrow columns as NumPy arrays, without pandas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def numbers(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Converts numbers without nulls to NumPy; pyarrow's own conversion imports pandas if it is installed."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    kind = np.dtype(values.type.to_pandas_dtype())
    arrays = [np.frombuffer(chunk.buffers()[1], kind, len(chunk), chunk.offset * kind.itemsize) for chunk in chunks]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, kind), *arrays])
