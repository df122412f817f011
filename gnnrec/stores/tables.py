"""Arrow tables of rows, for the stores that take them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gnnrec.stores.store import NodeRows


def table_of(rows: NodeRows) -> pa.Table:
    """Returns ``id`` and ``embedding`` (a list of fixed size), then ``bias``, or ``title`` and ``genres``."""
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).reshape(-1))
    columns = {"id": pa.array(rows.ids), "embedding": pa.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1])}
    if rows.kind == "users":
        columns["bias"] = pa.array(rows.bias.astype(np.float32))
    else:
        columns["title"] = pa.array(rows.titles, pa.string())
        columns["genres"] = pa.array(rows.genres, pa.list_(pa.string()))
    return pa.table(columns)


def schema_of(dim: int, kind: str, ids: str) -> pa.Schema:
    """Returns the schema of :func:`table_of`.

    Args:
        dim: Dimension of the vectors.
        kind: ``users`` or ``movies``.
        ids: ``integer`` or ``string``.
    """
    fields = [("id", pa.int64() if ids == "integer" else pa.string()), ("embedding", pa.list_(pa.float32(), dim))]
    if kind == "users":
        fields.append(("bias", pa.float32()))
    else:
        fields += [("title", pa.string()), ("genres", pa.list_(pa.string()))]
    return pa.schema(fields)
