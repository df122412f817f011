"""Files derived from the parts of an export: memory-mappable arrays, ids by row, an index of movies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference import export_index
from gnnrec.inference.export_directory import ExportDirectory, ExportPart
from gnnrec.inference.export_parts import read_column, read_numbers
from gnnrec.inference.partitioned import write_partitioned
from gnnrec.inference.small_vectors import read_vectors, scale_columns, stored_type

FORMATS = ("parquet", "npy", "faiss")


def read_formats(requested: list[str], head: str) -> tuple[str, ...]:
    """Returns the requested formats in the order of :data:`FORMATS`; Parquet is always included.

    Args:
        requested: Names; one entry may have several, separated by commas.
        head: Head of the model, ``dot`` or ``mlp``.

    Raises:
        UserError: An unknown format, or one that needs a missing package or another head.
    """
    names = {name.strip() for entry in requested for name in entry.split(",")} - {""}
    unknown = sorted(names - set(FORMATS))
    if unknown:
        raise UserError(f"--formats {unknown[0]}: choose from {', '.join(FORMATS)}")
    if "faiss" in names:
        export_index.import_faiss()
        if head != "dot":
            raise UserError(
                f"--formats faiss: needs a model with the dot head, and this one has the {head} head: leave it out"
            )
    return tuple(name for name in FORMATS if name == "parquet" or name in names)


@dataclasses.dataclass(frozen=True)
class DerivedFiles:
    """Files of an export beside its Parquet parts.

    ========================  ========================================================================
    ``users.npy``             float ``[users, dim]``, by row; ``movies.npy`` alike
    ``user_bias.npy``         float32 ``[users]``; ``movie_bias.npy`` alike
    ``user_scale.npy``        float32 ``[users]``, of int8 vectors; ``user_interest_scale.npy`` alike
    ``user_ids.parquet``      ``row`` (int64) and ``user`` (raw id); ``movie_ids.parquet`` alike
    ``movies.faiss``          index of movies by row (:mod:`gnnrec.inference.export_index`)
    ========================  ========================================================================

    Attributes:
        directory: The export.
        formats: From :func:`read_formats`.
        parts: Parquet files of ``users`` and ``movies``.
        dim: Dimension of the embeddings.
        own: Columns before those of interest.
        dtype: Type of the embeddings.
    """

    directory: ExportDirectory
    formats: tuple[str, ...]
    parts: dict[str, list[ExportPart]]
    dim: int
    own: int
    dtype: str

    def write(self, world: World) -> list[str]:
        """Writes the missing files, divided among the ranks. Every rank calls this once all parts are complete.

        Returns:
            Names of all derived files.

        Raises:
            UserError: A file cannot be written.
            Stopped: A rank was asked to stop.
        """
        writers, directory = self._writers(), self.directory
        missing = world.run_on_rank0(lambda: [name for name in writers if not directory.has(name)])
        write_partitioned(
            missing[world.rank :: world.size], lambda name: directory.write(name, writers[name]), "files", world
        )
        return list(writers)

    def describe(self) -> dict:
        """Returns the manifest entries of these files other than checksums."""
        if "faiss" not in self.formats:
            return {}
        path = self.directory.path / export_index.NAME
        return {"index": export_index.describe_index(path, self._paths("users"), self._paths("movies"), self._read)}

    def _read(self, paths: list[Path]) -> np.ndarray:
        """Reads vectors, float32 ``[rows, dim]``."""
        return np.concatenate(list(read_vectors(paths, self.dim, self.own, self.dtype)))

    def _paths(self, kind: str) -> list[Path]:
        return [self.directory.path / part.name for part in self.parts[kind]]

    def _writers(self) -> dict[str, Callable[[Path], None]]:
        writers: dict[str, Callable[[Path], None]] = {}
        if "faiss" in self.formats:  # first, since it takes longest
            users, movies = self._paths("users"), self._paths("movies")
            writers[export_index.NAME] = partial(export_index.write_index, users, movies, self._read)
        for kind in ("users", "movies"):
            paths, singular = self._paths(kind), kind.removesuffix("s")
            rows = sum(len(part.rows) for part in self.parts[kind])
            if "npy" in self.formats:
                writers[f"{kind}.npy"] = partial(
                    _write_array, paths, "embedding", (rows, self.dim), stored_type(self.dtype)
                )
                for name in scale_columns(self.dtype, self.dim, self.own):
                    writers[f"{singular}_{name}.npy"] = partial(_write_array, paths, name, (rows,), "float32")
                writers[f"{singular}_bias.npy"] = partial(_write_array, paths, "bias", (rows,), "float32")
            if "npy" in self.formats or ("faiss" in self.formats and kind == "movies"):
                writers[f"{singular}_ids.parquet"] = partial(_write_ids, paths, singular)
        return writers


def _write_array(paths: list[Path], column: str, shape: tuple[int, ...], dtype: str, path: Path) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for values in read_numbers(paths, column):
            file.write(np.ascontiguousarray(values, dtype).data)


def _write_ids(paths: list[Path], column: str, path: Path) -> None:
    first, writer = 0, None
    try:
        for ids in read_column(paths, column):
            rows = pa.array(np.arange(first, first + len(ids)))
            table = pa.table({"row": rows, column: ids})
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
            first += len(ids)
    finally:
        if writer is not None:
            writer.close()
