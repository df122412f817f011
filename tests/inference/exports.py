"""Reads exported files for tests, with pyarrow and NumPy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export

#: Options that give several parts and chunks.
OPTIONS = {"part_rows": 10, "chunk": 4}


def exported(run: Path, out: Path, world: World | None = None, **options) -> dict:
    return export(run, ExportOptions(out, **options), world or World())


def table_of(out: Path, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns raw ids, embeddings and biases in the order of file names."""
    tables = [pq.read_table(path) for path in sorted((out / f"{kind}s").iterdir())]
    table = pa.concat_tables(tables)
    assert table.column_names[:3] == [kind, "embedding", "bias"]
    assert table.column_names[3:] in ([], ["interest_norm"], ["cold"], ["interest_norm", "cold"])
    return table[kind].to_pandas().to_numpy(), np.stack(table["embedding"].to_pandas()), table["bias"].to_numpy()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def content(out: Path) -> dict[str, bytes]:
    """Returns name -> content of all files, including hidden ones."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
