"""Cuts input files into splits, ranges of bytes or of row groups, that are read independently."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import read
from gnnrec.data.layout import BYTE_ORDER_MARK, Layout, is_gzip
from gnnrec.data.out_of_core.size import bytes_per_row
from gnnrec.data.reading import parquet


@dataclasses.dataclass(frozen=True)
class InputSplit:
    """A range of one input file.

    Attributes:
        number: Index among all splits, in the order of files and rows.
        file: Index of its file among all files.
        start: First byte, or first row group.
        stop: One past the last; None for the end of the file.
    """

    number: int
    file: int
    start: int
    stop: int | None


def make_input_splits(layouts: list[Layout], rows: int) -> list[InputSplit]:
    """Makes splits of about ``rows`` rows; Parquet files are cut between row groups, compressed files and those of the
    Netflix Prize are not cut.

    Raises:
        UserError: A file cannot be read.
    """
    splits: list[InputSplit] = []
    for number, layout in enumerate(layouts):
        with read.explain_errors(layout):
            if layout.kind == "parquet":
                bounds: list = _row_groups(layout.path, rows)
            elif is_gzip(layout.path) or layout.kind == "netflix":  # its rows need the line of their movie
                bounds = [0, None]
            else:
                bounds = _lines(layout, int(rows * bytes_per_row(layout)))
        splits += [InputSplit(len(splits) + i, number, *bounds[i : i + 2]) for i in range(len(bounds) - 1)]
    return splits


def read_columns(layout: Layout, split: InputSplit, rows: int) -> Iterator[dict[str, pa.ChunkedArray]]:
    """Reads the columns of a split by role, about ``rows`` rows at a time.

    Raises:
        UserError: The file is damaged, or a row is malformed.
    """
    if layout.kind == "parquet":
        groups = range(split.start, split.stop)
        with pq.ParquetFile(layout.path) as file:
            for batch in file.iter_batches(rows, groups, list(layout.stored.values()), use_threads=False):
                columns = parquet.columns_by_role(layout, pa.Table.from_batches([batch]))
                yield read.with_partition(layout, columns)
        return
    movie: bytes | None = None
    with _open(layout.path) as file:
        file.seek(split.start)
        if not split.start:
            _skip_header(file, layout)
        size = int(rows * bytes_per_row(layout)) if split.stop is None else split.stop - file.tell()
        while block := file.read(size) if split.stop is not None else _block(file, size, _quoted(layout)):
            if not block.isspace():
                columns, movie = read.read_block(layout, block, movie)
                yield read.with_partition(layout, columns)
            if split.stop is not None:
                return


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip(path) else open(path, "rb")


def _quoted(layout: Layout) -> bool:
    """Returns whether quoted fields may contain line breaks."""
    return layout.kind == "csv" and layout.quoted and not layout.grouplens


def _row_groups(path: Path, rows: int) -> list[int]:
    metadata = pq.read_metadata(path)
    bounds, split_rows = [0], 0
    for group in range(metadata.num_row_groups):
        group_rows = metadata.row_group(group).num_rows
        if split_rows and split_rows + group_rows > rows:
            bounds.append(group)
            split_rows = 0
        split_rows += group_rows
    return [*bounds, metadata.num_row_groups] if metadata.num_row_groups else bounds


def _lines(layout: Layout, size: int) -> list[int]:
    """Offsets of line ends about ``size`` bytes apart, from the start of the file to its end."""
    total, bounds = layout.path.stat().st_size, [0]
    with open(layout.path, "rb") as file:
        _skip_header(file, layout)
        while file.tell() < total:
            if _quoted(layout):
                _block(file, size, True)
            else:
                file.seek(file.tell() + size)
                file.readline()
            bounds.append(min(file.tell(), total))
    return bounds if len(bounds) > 1 else [0, total]


def _skip_header(file: IO[bytes], layout: Layout) -> None:
    """Moves past the header, or past the byte order mark of a file without one."""
    for _ in range(layout.header_lines):
        file.readline()
    if not layout.header_lines and file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        file.seek(0)


def _block(file: IO[bytes], size: int, quoted: bool) -> bytes:
    """Reads whole rows, ``size`` bytes or a little more."""
    block = file.read(size) + file.readline()
    while quoted and block.count(b'"') % 2 and (line := file.readline()):
        block += line
    return block
