"""All rated movies, from what the pieces counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gnnrec.data.out_of_core.job import Job
from gnnrec.data.out_of_core.scatter import Scattered, counts_path


def count_movies(job: Job, pieces: list[Scattered]) -> pa.Table:
    """Raw ids by row (``movie``), in descending order of their ratings, ties in ascending order of the raw ids."""
    total: pa.Table | None = None
    for piece in pieces:
        for part in range(piece.parts):
            table = read_arrow(counts_path(job, piece.number, part)).combine_chunks()
            joined = table if total is None else pa.concat_tables([total, table])
            total = joined.group_by("movie").aggregate([("ratings", "sum")]).rename_columns(["movie", "ratings"])
    assert total is not None  # there are ratings
    total = total.cast(pa.schema([total.schema.field("movie"), ("ratings", pa.int64())]))
    return total.sort_by([("ratings", "descending"), ("movie", "ascending")]).select(["movie"])


def raw_ids(column: pa.ChunkedArray) -> np.ndarray:
    """int64 or object (strings)."""
    found = column.to_numpy()
    return found.astype(np.int64 if found.dtype == np.int64 else object)  # a copy that may be written to


def movie_rows(raw: np.ndarray) -> pd.Series:
    """Raw id -> row, int32."""
    return pd.Series(np.arange(len(raw), dtype=np.int32), index=pd.Index(raw))


def write_arrow(path: Path, table: pa.Table) -> None:
    """A file that :func:`read_arrow` reads."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_arrow(path: Path) -> pa.Table:
    """A whole Arrow file."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
