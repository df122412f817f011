"""Index of all rated movies, from the counts of all input splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gnnrec.data.out_of_core.arrow_files import read_arrow, write_arrow
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, counts_path


def count_movies(job: PrepareJob, partitioned: list[PartitionedSplit]) -> pa.Table:
    """Returns raw ids (``movie``) by descending number of ratings; ties are in ascending order of the ids."""
    total: pa.Table | None = None
    for split in partitioned:
        for part in range(split.parts):
            table = read_arrow(counts_path(job, split.number, part)).combine_chunks()
            counts = table if total is None else pa.concat_tables([total, table])
            total = counts.group_by("movie").aggregate([("ratings", "sum")]).rename_columns(["movie", "ratings"])
    assert total is not None  # there are ratings
    total = total.cast(pa.schema([total.schema.field("movie"), ("ratings", pa.int64())]))
    return total.sort_by([("ratings", "descending"), ("movie", "ascending")]).select(["movie"])


def make_movie_index(job: PrepareJob, partitioned: list[PartitionedSplit]) -> np.ndarray:
    """Counts the movies, unless an earlier run did, and returns the result of :func:`read_movie_index`."""
    path = _path(job)
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        write_arrow(temporary, count_movies(job, partitioned))
        temporary.rename(path)
    return read_movie_index(job)


def read_movie_index(job: PrepareJob) -> np.ndarray:
    """Raw ids of all movies by row, int64 or object (strings)."""
    return raw_ids(read_arrow(_path(job))["movie"])


def _path(job: PrepareJob) -> Path:
    return job.scratch / "movies.arrow"


def raw_ids(column: pa.ChunkedArray) -> np.ndarray:
    """Converts a column of ids to a writable int64 or object (strings) array."""
    ids = column.to_numpy()
    return ids.astype(np.int64 if ids.dtype == np.int64 else object)


def movie_rows(raw: np.ndarray) -> pd.Series:
    """Maps raw ids to rows, int32."""
    return pd.Series(np.arange(len(raw), dtype=np.int32), index=pd.Index(raw))
