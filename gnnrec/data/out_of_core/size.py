"""How much there is, and how much memory it may take."""

from __future__ import annotations

import dataclasses

import psutil
import pyarrow.parquet as pq

from gnnrec.data.formats import Layout, is_gzip, open_text
from gnnrec.data.prepare_options import LEAST_MEMORY, PrepareOptions
from gnnrec.data.read import refusing
from gnnrec.utils.cores import usable_cores

#: Bytes a rating that each way needs at its worst moment, measured.
IN_MEMORY, IN_PIECE, IN_BUCKET = 60, 110, 110
#: Gigabytes of the libraries and of Arrow's idle memory.
BASE = 0.6
#: Largest pieces are not faster.
_MOST_ROWS_A_PIECE = 2_000_000
_SAMPLE = 1 << 16
#: What a compressed text unpacks to, about.
_GZIP = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """How input is cut.

    Attributes:
        rows_a_piece: Rows that are read at a time.
        log_buckets: Logarithm to base two of the number of user ranges that are sorted at a time.
    """

    rows_a_piece: int
    log_buckets: int


def memory_limit(options: PrepareOptions) -> float:
    """Gigabytes, of each process."""
    return options.memory or max(psutil.virtual_memory().available / 2e9, LEAST_MEMORY)


def workers(options: PrepareOptions) -> int:
    """Threads, or processes of Dask."""
    return options.workers or usable_cores()


def gigabytes_in_memory(layout: Layout) -> float:
    """Of ``--engine memory``, about."""
    return BASE + rows(layout) * IN_MEMORY / 1e9


def rows(layout: Layout) -> int:
    """Rows of a file: exact of Parquet, else from the length of the first ones.

    Raises:
        UserError: The file cannot be read.
    """
    with refusing(layout):
        if layout.kind == "parquet":
            return pq.read_metadata(layout.path).num_rows
        return int(layout.path.stat().st_size * (_GZIP if is_gzip(layout.path) else 1) / bytes_a_row(layout)) + 1


def bytes_a_row(layout: Layout) -> float:
    """Mean length of the first rows of a text file."""
    with open_text(layout.path) as file:
        sample = file.read(_SAMPLE)
    return len(sample.encode(errors="surrogateescape")) / max(sample.count("\n"), 1)


def plan(layouts: list[Layout], options: PrepareOptions) -> Plan:
    """Pieces and buckets that fit into memory."""
    threads = 1 if options.engine == "dask" else workers(options)
    room = max(memory_limit(options) - BASE, 0.2) * 1e9 / threads
    buckets = int(sum(map(rows, layouts)) * IN_BUCKET / room)
    return Plan(min(int(room / IN_PIECE), _MOST_ROWS_A_PIECE), buckets.bit_length())
