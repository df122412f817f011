"""The last step: the parts of all buckets, one behind the other, as the arrays and tables of the prepared dataset."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import manifest_builder
from gnnrec.data.out_of_core.arrow_files import read_arrow
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.movie_index import raw_ids
from gnnrec.data.out_of_core.sort_bucket import SortedBucket, array_path, users_path

_TYPES = {"movie": np.int32, "rating": np.float32, "split": np.uint8, "timestamp": np.int64}
#: Rows of a row group, where pandas writes a table at once.
ROW_GROUP = 1 << 20
_BLOCK = 1 << 22  # bytes copied at a time


def write_arrays(job: PrepareJob, buckets: list[SortedBucket], directory: Path) -> dict[str, str]:
    """``user_ptr``, ``movie``, ``rating``, ``split`` and, where known, ``timestamp``: file name -> SHA-256."""
    ratings, users = sum(each.ratings for each in buckets), sum(each.users for each in buckets)
    checksums: dict[str, str] = {}
    for name, kind in _TYPES.items():
        if name != "timestamp" or "timestamp" in job.layouts[0].columns:
            with _array_file(directory, name, kind, ratings, checksums) as file:
                for each in buckets:
                    if each.ratings:
                        with open(array_path(job, each.number, name), "rb") as part:
                            shutil.copyfileobj(part, file, _BLOCK)
    with _array_file(directory, "user_ptr", np.int64, users + 1, checksums) as file:
        last = np.zeros(1, np.int64)
        file.write(last.data)
        for each in buckets:
            if each.users:
                ends = last + np.cumsum(np.fromfile(array_path(job, each.number, "degree"), np.int64))
                file.write(ends.data)
                last = ends[-1:]
    return checksums


class _Hashed:
    """A file whose checksum is taken while it is written."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> None:
        self.digest.update(data)
        self.file.write(data)


@contextlib.contextmanager
def _array_file(directory: Path, name: str, kind: Any, length: int, checksums: dict[str, str]) -> Iterator[Any]:
    """A ``.npy`` file, as ``numpy.save`` writes it, behind its header."""
    with open(directory / f"{name}.npy", "wb") as opened:
        file = _Hashed(opened)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        yield file
        checksums[f"{name}.npy"] = file.digest.hexdigest()


def write_users(job: PrepareJob, buckets: list[SortedBucket], directory: Path) -> None:
    """``users.parquet``, with the row groups that it has when it is written at once."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    first = rows = 0
    for each in buckets:
        if each.users:
            raw = raw_ids(read_arrow(users_path(job, each.number))["user"])
            waiting.append(pa.Table.from_pandas(manifest_builder.user_table(first, raw), preserve_index=False))
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
