"""The last step: the parts of all buckets, one behind the other, as the arrays and tables of the prepared dataset."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import result
from gnnrec.data.out_of_core.catalogue import raw_ids, read_arrow
from gnnrec.data.out_of_core.gather import Gathered, array_path, users_path
from gnnrec.data.out_of_core.job import Job

_TYPES = {"movie": np.int32, "rating": np.float32, "split": np.uint8, "timestamp": np.int64}
#: Rows of a row group, where pandas writes a table at once.
ROW_GROUP = 1 << 20


def write_arrays(job: Job, buckets: list[Gathered], directory: Path) -> None:
    """``user_ptr``, ``movie``, ``rating``, ``split`` and, where known, ``timestamp``."""
    ratings, users = sum(each.ratings for each in buckets), sum(each.users for each in buckets)
    for name, kind in _TYPES.items():
        if name == "timestamp" and "timestamp" not in job.layouts[0].columns:
            continue
        with open(directory / f"{name}.npy", "wb") as file:
            _write_header(file, np.dtype(kind), ratings)
            for each in buckets:
                if each.ratings:
                    with open(array_path(job, each.bucket, name), "rb") as part:
                        shutil.copyfileobj(part, file, 1 << 22)
    with open(directory / "user_ptr.npy", "wb") as file:
        _write_header(file, np.dtype(np.int64), users + 1)
        last = np.zeros(1, np.int64)
        last.tofile(file)
        for each in buckets:
            degree = np.fromfile(array_path(job, each.bucket, "degree"), np.int64)
            if len(degree):
                ends = last + np.cumsum(degree)
                ends.tofile(file)
                last = ends[-1:]


def write_users(job: Job, buckets: list[Gathered], directory: Path) -> None:
    """``users.parquet``, with the row groups that it has when it is written at once."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    first = rows = 0
    for each in buckets:
        if each.users:
            raw = raw_ids(read_arrow(users_path(job, each.bucket))["user"])
            waiting.append(pa.Table.from_pandas(result.user_table(first, raw), preserve_index=False))
            first, rows = first + each.users, rows + each.users
        if writer is None and waiting:
            writer = pq.ParquetWriter(directory / "users.parquet", waiting[0].schema)
        while writer is not None and (rows >= ROW_GROUP or (each is buckets[-1] and rows)):
            joined = pa.concat_tables(waiting)
            writer.write_table(joined.slice(0, ROW_GROUP).combine_chunks(), ROW_GROUP)
            waiting = [joined.slice(ROW_GROUP)]
            rows = len(waiting[0])
    if writer is not None:
        writer.close()


def _write_header(file, kind: np.dtype, length: int) -> None:  # type: ignore[no-untyped-def]
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
