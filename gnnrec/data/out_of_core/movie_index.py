"""All rated movies, from what the pieces counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gnnrec.data.out_of_core.arrow_files import read_arrow, write_arrow
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, counts_path


def count_movies(job: PrepareJob, pieces: list[PartitionedSplit]) -> pa.Table:
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


def make_movie_index(job: PrepareJob, pieces: list[PartitionedSplit]) -> np.ndarray:
    """Counts the movies, unless an earlier run did, and returns what :func:`read_movie_index` does."""
    path = _path(job)
    if not path.exists():
        aside = path.with_suffix(".tmp")
        write_arrow(aside, count_movies(job, pieces))
        aside.rename(path)
    return read_movie_index(job)


def read_movie_index(job: PrepareJob) -> np.ndarray:
    """Raw ids of all movies by row, int64 or object (strings)."""
    return raw_ids(read_arrow(_path(job))["movie"])


def _path(job: PrepareJob) -> Path:
    return job.scratch / "movies.arrow"


def raw_ids(column: pa.ChunkedArray) -> np.ndarray:
    """int64 or object (strings)."""
    found = column.to_numpy()
    return found.astype(np.int64 if found.dtype == np.int64 else object)  # a copy that may be written to


def movie_rows(raw: np.ndarray) -> pd.Series:
    """Raw id -> row, int32."""
    return pd.Series(np.arange(len(raw), dtype=np.int32), index=pd.Index(raw))
