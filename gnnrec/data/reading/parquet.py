"""Columns of Parquet tables by role."""

from __future__ import annotations

import pyarrow as pa

from gnnrec.data.layout import ID_ROLES, Layout


def columns_by_role(layout: Layout, table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Returns the columns of a table by role: ids as integers or text, ratings as float32.

    Raises:
        pyarrow.ArrowInvalid: A value cannot be converted.
    """
    columns = {role: table.column(name) for role, name in layout.stored.items()}
    for role in ID_ROLES:
        if role in columns and pa.types.is_decimal(columns[role].type):
            columns[role] = columns[role].cast(pa.string())
        elif role in columns and pa.types.is_fixed_size_binary(columns[role].type):
            columns[role] = columns[role].cast(pa.binary())
    return columns
