"""``gnnrec export --verify``: whether an export is complete and undamaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.inference import export_index
from gnnrec.inference.export_directory import ExportDirectory, ExportPart, parts_of
from gnnrec.inference.export_parts import read_column, read_numbers
from gnnrec.inference.vectors_of_export import read_manifest
from gnnrec.utils import files

_AGAIN = "write it again with gnnrec export --overwrite"


@dataclasses.dataclass
class VerifyOptions:
    """Options of ``gnnrec export --verify``.

    Args:
        data: Prepared dataset, if it has moved since the export; by default the one that is recorded.
    """

    data: Path | None = None


def verify(directory: Path, options: VerifyOptions) -> None:
    """Reads everything, in bounded memory, and prints one line.

    Checksums, counts, types and finite values; raw ids, in row order where the dataset is there and else that none
    comes twice; that arrays say what the parts say, and that the index opens.

    Args:
        directory: The export.
        options: The options.

    Raises:
        UserError: Something is wrong; it names the file.
    """
    directory = Path(directory)
    if ExportDirectory(directory).is_unfinished:
        raise UserError(f"{directory} is unfinished: run the command that began it again")
    manifest = read_manifest(directory)
    try:
        export = _Export(directory, manifest)
        export.check_files()
        dataset = _dataset(directory, manifest, options.data)
        for kind in ("users", "movies"):
            ids = None
            if dataset is not None and (kind == "movies" or "ratings" not in manifest):
                ids = getattr(dataset, kind)[kind.removesuffix("s")]
            export.check_parts(kind, ids)
            export.check_arrays(kind)
        export.check_index()
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{directory / 'manifest.json'} is damaged ({error!r}): {_AGAIN}") from None
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    ids = "unique (their dataset is not there to compare)" if dataset is None else "complete"
    print(
        f"{directory}: OK, {manifest['users']:,} users and {manifest['movies']:,} movies, {manifest['dim']} x "
        f"{manifest['dtype']}, {len(manifest['files'])} files of {size / 1e6:,.1f} MB, ids {ids}"
    )


@dataclasses.dataclass(frozen=True)
class _Export:
    directory: Path
    manifest: dict

    def check_files(self) -> None:
        """Those of the manifest and, in the folders that are read as a whole, no others."""
        for name, known in self.manifest["files"].items():
            path = self.directory / name
            if not path.is_file():
                raise UserError(f"{path} is missing: {_AGAIN}")
            size = path.stat().st_size
            if size != known["bytes"]:
                raise UserError(f"{path} has {size} bytes, not {known['bytes']}: {_AGAIN}")
            if files.sha256(path) != known["sha256"]:
                raise UserError(f"{path} does not match its checksum: {_AGAIN}")
        for path in sorted(self.directory.glob("users/*")) + sorted(self.directory.glob("movies/*")):
            if str(path.relative_to(self.directory)) not in self.manifest["files"]:
                raise UserError(f"{path} does not belong to the export: remove it")

    def check_parts(self, kind: str, expected: pd.Series | None) -> None:
        """Rows, types, values and ids of ``users`` or ``movies``."""
        parts, one = self._parts(kind), kind.removesuffix("s")
        names = [part.name for part in parts]
        if names != sorted(name for name in self.manifest["files"] if name.startswith(f"{kind}/")):
            raise UserError(
                f"{self.directory / 'manifest.json'}: its files do not hold {self.manifest[kind]} {kind}: {_AGAIN}"
            )
        seen = []
        for part in parts:
            path = self.directory / part.name
            self._check_schema(path, one, len(part.rows))
            for column in ("embedding", "bias"):
                if not all(np.isfinite(some).all() for some in read_numbers([path], column)):
                    raise UserError(f"{path}: {column} has values that are not finite: train again, then {_AGAIN}")
            ids = pa.chunked_array(read_column([path], one)).to_pandas()
            if expected is not None:
                wanted = expected.iloc[part.rows.start : part.rows.stop]
                if not np.array_equal(ids.to_numpy(), wanted.to_numpy()):
                    raise UserError(f"{path}: ids are not those of rows {part.rows.start} on of the dataset: {_AGAIN}")
            else:
                seen.append(ids)
        if seen and (again := pd.concat(seen).duplicated()).any():
            twice = pd.concat(seen)[again].iloc[0]
            raise UserError(f"{self.directory / kind}: {one} {twice} is there twice: {_AGAIN}")

    def _check_schema(self, path: Path, one: str, rows: int) -> None:
        dim, dtype = self.manifest["dim"], {"float32": pa.float32(), "float16": pa.float16()}[self.manifest["dtype"]]
        with pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
        if schema.names != [one, "embedding", "bias"]:
            raise UserError(f"{path} has columns {', '.join(schema.names)}: {_AGAIN}")
        if schema.field("embedding").type != pa.list_(dtype, dim) or schema.field("bias").type != pa.float32():
            raise UserError(f"{path}: embeddings are {schema.field('embedding').type}, not {dim} x {dtype}: {_AGAIN}")
        if count != rows:
            raise UserError(f"{path} has {count} rows, not {rows}: {_AGAIN}")

    def check_arrays(self, kind: str) -> None:
        """Arrays and ids by row, where they were asked for."""
        one, paths = kind.removesuffix("s"), [self.directory / part.name for part in self._parts(kind)]
        rows, dim = self.manifest[kind], self.manifest["dim"]
        shapes = {f"{kind}.npy": ("embedding", (rows, dim)), f"{one}_bias.npy": ("bias", (rows,))}
        for name, (column, shape) in shapes.items():
            if name in self.manifest["files"]:
                path = self.directory / name
                array = _open_array(path)
                if array.shape != shape or not _same(array.reshape(-1), read_numbers(paths, column)):
                    raise UserError(f"{path} is not what the files in {self.directory / kind} are: {_AGAIN}")
        if f"{one}_ids.parquet" in self.manifest["files"]:
            path = self.directory / f"{one}_ids.parquet"
            found, expected = (pa.chunked_array(read_column(each, one)) for each in ([path], paths))
            row = pa.chunked_array(read_column([path], "row")).to_numpy()
            if not found.equals(expected) or not np.array_equal(row, np.arange(rows)):
                raise UserError(f"{path} is not what the files in {self.directory / kind} are: {_AGAIN}")

    def check_index(self) -> None:
        """The index of movies, where it was asked for."""
        if export_index.NAME in self.manifest["files"]:
            path, about = self.directory / export_index.NAME, self.manifest["index"]
            found = export_index.open_index(path)
            expected = self.manifest["movies"], self.manifest["dim"] + 1
            if (found.ntotal, found.d) != expected or (about["movies"], about["dim"]) != expected:
                raise UserError(f"{path} has {found.ntotal} movies in {found.d} dimensions, not {expected}: {_AGAIN}")

    def _parts(self, kind: str) -> list[ExportPart]:
        return parts_of(kind, self.manifest[kind], self.manifest["id_embedding"]["part_rows"])


def _dataset(directory: Path, manifest: dict, data: Path | None) -> PreparedDataset | None:
    """That of the export; None where it is no longer where it was."""
    place = Path(data or manifest["data"])
    if data is None and not place.exists():
        return None
    dataset = PreparedDataset(place)
    if dataset.fingerprint != manifest["dataset_fingerprint"]:
        if data is None:
            return None
        raise UserError(f"--data {place} is not the dataset of {directory}: pass the right one")
    return dataset


def _open_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {_AGAIN}") from None


def _same(array: np.ndarray, pieces: Iterator[np.ndarray]) -> bool:
    first = 0
    for piece in pieces:
        if not np.array_equal(array[first : first + len(piece)], piece):
            return False
        first += len(piece)
    return first == len(array)
