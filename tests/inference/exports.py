"""Reads exported files for tests, with nothing but pyarrow and NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export


def exported(run: Path, out: Path, world: World | None = None, **options) -> dict:
    return export(run, ExportOptions(out, **options), world or World())


def table_of(out: Path, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw ids, embeddings and biases, in the order of the files' names."""
    tables = [pq.read_table(path) for path in sorted((out / f"{kind}s").iterdir())]
    table = pa.concat_tables(tables)
    assert table.column_names == [kind, "embedding", "bias"]
    return table[kind].to_pandas().to_numpy(), np.stack(table["embedding"].to_pandas()), table["bias"].to_numpy()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def content(out: Path) -> dict[str, bytes]:
    """Every file, hidden ones too."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
