"""Arrow files for tables passed between tasks."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa


def write_arrow(path: Path, table: pa.Table) -> None:
    """Writes a table to an Arrow file."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_arrow(path: Path) -> pa.Table:
    """Reads a whole Arrow file."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
