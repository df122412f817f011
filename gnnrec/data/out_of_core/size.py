"""Estimates the size of input files and plans splits and buckets that fit into memory."""

from __future__ import annotations

import dataclasses

import psutil
import pyarrow.parquet as pq

from gnnrec.data.layout import Layout, is_gzip, open_text
from gnnrec.data.prepare_options import LEAST_MEMORY, PrepareOptions
from gnnrec.data.read import explain_errors
from gnnrec.utils.cores import usable_cores

#: Measured peak bytes per rating: in memory, while partitioning a split, while sorting a bucket.
IN_MEMORY, IN_SPLIT, IN_BUCKET = 60, 110, 110
#: Gigabytes used by the libraries and Arrow's idle memory.
BASE = 0.6
#: Larger splits are not faster.
_MAX_ROWS_PER_SPLIT = 2_000_000
_SAMPLE = 1 << 16
#: Approximate compression ratio of gzipped text.
_GZIP = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """Size of input splits and number of buckets.

    Attributes:
        rows_per_split: Rows that are read at a time.
        log_buckets: Base-2 logarithm of the number of user ranges, which are sorted one at a time.
    """

    rows_per_split: int
    log_buckets: int


def memory_limit(options: PrepareOptions) -> float:
    """Memory limit per process, in gigabytes."""
    return options.memory or free_memory()


def free_memory() -> float:
    """Half of the memory that is free, at least what preparing needs, in gigabytes."""
    return max(psutil.virtual_memory().available / 2e9, LEAST_MEMORY)


def num_workers(options: PrepareOptions) -> int:
    """Number of threads, or of Dask processes."""
    return options.workers or usable_cores()


def gigabytes_in_memory(layout: Layout) -> float:
    """Approximate memory use of ``--engine memory``, in gigabytes."""
    return BASE + rows(layout) * IN_MEMORY / 1e9


def rows(layout: Layout) -> int:
    """Number of rows of a file: exact for Parquet, otherwise estimated from the length of the first rows.

    Raises:
        UserError: The file cannot be read.
    """
    with explain_errors(layout):
        if layout.kind == "parquet":
            return pq.read_metadata(layout.path).num_rows
        return int(layout.path.stat().st_size * (_GZIP if is_gzip(layout.path) else 1) / bytes_per_row(layout)) + 1


def bytes_per_row(layout: Layout) -> float:
    """Mean length of the first rows of a text file, in bytes."""
    with open_text(layout.path) as file:
        sample = file.read(_SAMPLE)
    return len(sample.encode(errors="surrogateescape")) / max(sample.count("\n"), 1)


def plan(layouts: list[Layout], options: PrepareOptions) -> Plan:
    """Plans splits and buckets that fit into memory."""
    threads = 1 if options.engine == "dask" else num_workers(options)
    available = max(memory_limit(options) - BASE, 0.2) * 1e9 / threads
    buckets = int(sum(map(rows, layouts)) * IN_BUCKET / available)
    return Plan(min(int(available / IN_SPLIT), _MAX_ROWS_PER_SPLIT), buckets.bit_length())
