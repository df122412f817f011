"""Input files cut into pieces: ranges of bytes or of row groups, each read on its own."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data import read
from gnnrec.data.formats import Layout, is_gzip
from gnnrec.data.out_of_core.size import bytes_a_row

_BOM = b"\xef\xbb\xbf"


@dataclasses.dataclass(frozen=True)
class InputSplit:
    """A part of one file.

    Attributes:
        number: Place among all pieces, in the order of files and rows.
        file: Place of its file among all files.
        start: First byte, or first row group.
        stop: One past the last; None to the end of the file.
    """

    number: int
    file: int
    start: int
    stop: int | None


def cut(layouts: list[Layout], rows: int) -> list[InputSplit]:
    """All pieces of about ``rows`` rows; a compressed file is one piece, a Parquet file is cut between row groups.

    Raises:
        UserError: A file cannot be read.
    """
    pieces: list[InputSplit] = []
    for number, layout in enumerate(layouts):
        with read.refusing(layout):
            if layout.kind == "parquet":
                bounds: list = _row_groups(layout.path, rows)
            elif is_gzip(layout.path):
                bounds = [0, None]
            else:
                bounds = _lines(layout, int(rows * bytes_a_row(layout)))
        pieces += [InputSplit(len(pieces) + i, number, *bounds[i : i + 2]) for i in range(len(bounds) - 1)]
    return pieces


def tables(layout: Layout, piece: InputSplit, rows: int) -> Iterator[dict[str, pa.ChunkedArray]]:
    """The columns of a piece by role, about ``rows`` rows at a time.

    Raises:
        UserError: The file is damaged, or a row is malformed.
    """
    if layout.kind == "parquet":
        groups = range(piece.start, piece.stop)
        with pq.ParquetFile(layout.path) as file:
            for batch in file.iter_batches(rows, groups, list(layout.columns.values()), use_threads=False):
                yield read.parquet_columns(layout, pa.Table.from_batches([batch]))
        return
    with _open(layout.path) as file:
        file.seek(piece.start)
        if not piece.start and layout.kind != "dat":
            _skip_header(file)
        if piece.stop is not None:
            yield from _parsed(layout, file.read(piece.stop - file.tell()))
            return
        size = int(rows * bytes_a_row(layout))
        while block := _block(file, size, _quoted(layout)):
            yield from _parsed(layout, block)


def _parsed(layout: Layout, block: bytes) -> Iterator[dict[str, pa.ChunkedArray]]:
    if block and not block.isspace():
        yield read.read_text(layout, pa.py_buffer(block))


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if is_gzip(path) else open(path, "rb")


def _quoted(layout: Layout) -> bool:
    """A line may end inside of quotes."""
    return not layout.grouplens


def _row_groups(path: Path, rows: int) -> list[int]:
    metadata = pq.read_metadata(path)
    bounds, held = [0], 0
    for group in range(metadata.num_row_groups):
        more = metadata.row_group(group).num_rows
        if held and held + more > rows:
            bounds.append(group)
            held = 0
        held += more
    return [*bounds, metadata.num_row_groups] if metadata.num_row_groups else bounds


def _lines(layout: Layout, size: int) -> list[int]:
    """Ends of lines about ``size`` bytes apart, from the start of the file to its end."""
    total, bounds = layout.path.stat().st_size, [0]
    with open(layout.path, "rb") as file:
        if layout.kind != "dat":
            _skip_header(file)
        while file.tell() < total:
            if _quoted(layout):
                _block(file, size, True)
            else:
                file.seek(file.tell() + size)
                file.readline()
            bounds.append(min(file.tell(), total))
    return bounds if len(bounds) > 1 else [0, total]


def _skip_header(file: IO[bytes]) -> None:
    """StaleLayer the first line that is not blank."""
    while (line := file.readline()) and not line.removeprefix(_BOM).strip():
        pass


def _block(file: IO[bytes], size: int, quoted: bool) -> bytes:
    """Whole rows, of ``size`` bytes or a little more."""
    block = file.read(size) + file.readline()
    while quoted and block.count(b'"') % 2 and (line := file.readline()):
        block += line
    return block
