"""Last step: concatenates the files of all buckets to the arrays and tables of the prepared dataset."""

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
#: Rows per row group, as pandas writes them.
ROW_GROUP = 1 << 20
_BLOCK = 1 << 22  # bytes copied at a time


def write_arrays(job: PrepareJob, buckets: list[SortedBucket], directory: Path) -> dict[str, str]:
    """Writes ``user_ptr``, ``movie``, ``rating``, ``split`` and, if known, ``timestamp``; returns SHA-256 by name."""
    ratings, users = sum(bucket.ratings for bucket in buckets), sum(bucket.users for bucket in buckets)
    checksums: dict[str, str] = {}
    for name, kind in _TYPES.items():
        if name != "timestamp" or "timestamp" in job.layouts[0].columns:
            with _array_file(directory, name, kind, ratings, checksums) as file:
                for bucket in buckets:
                    if bucket.ratings:
                        with open(array_path(job, bucket.number, name), "rb") as source:
                            shutil.copyfileobj(source, file, _BLOCK)
    with _array_file(directory, "user_ptr", np.int64, users + 1, checksums) as file:
        last = np.zeros(1, np.int64)
        file.write(last.data)
        for bucket in buckets:
            if bucket.users:
                ends = last + np.cumsum(np.fromfile(array_path(job, bucket.number, "degree"), np.int64))
                file.write(ends.data)
                last = ends[-1:]
    return checksums


class _HashingFile:
    """A file that computes its checksum while it is written."""

    def __init__(self, file: BinaryIO):
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> None:
        self.digest.update(data)
        self.file.write(data)


@contextlib.contextmanager
def _array_file(directory: Path, name: str, kind: Any, length: int, checksums: dict[str, str]) -> Iterator[Any]:
    """Opens a ``.npy`` file and writes the header that ``numpy.save`` writes; the caller writes the data."""
    with open(directory / f"{name}.npy", "wb") as opened:
        file = _HashingFile(opened)
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        yield file
        checksums[f"{name}.npy"] = file.digest.hexdigest()


def write_users(job: PrepareJob, buckets: list[SortedBucket], directory: Path) -> None:
    """Writes ``users.parquet`` with the same row groups as a write of the whole table."""
    writer: pq.ParquetWriter | None = None
    tables: list[pa.Table] = []
    first = rows = 0
    for bucket in buckets:
        if bucket.users:
            raw = raw_ids(read_arrow(users_path(job, bucket.number))["user"])
            tables.append(pa.Table.from_pandas(manifest_builder.user_table(first, raw), preserve_index=False))
            first, rows = first + bucket.users, rows + bucket.users
        if writer is None and tables:
            writer = pq.ParquetWriter(directory / "users.parquet", tables[0].schema)
        while writer is not None and (rows >= ROW_GROUP or (bucket is buckets[-1] and rows)):
            pending = pa.concat_tables(tables)
            writer.write_table(pending.slice(0, ROW_GROUP).combine_chunks(), ROW_GROUP)
            tables = [pending.slice(ROW_GROUP)]
            rows = len(tables[0])
    if writer is not None:
        writer.close()
