"""``gnnrec export --verify``: checks that an export is complete and undamaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.same_dataset import open_recorded
from gnnrec.errors import UserError
from gnnrec.inference import export_index
from gnnrec.inference.export_directory import NEW_MOVIES_FILE, ExportDirectory, ExportPart, split_into_parts
from gnnrec.inference.export_parts import read_column, read_numbers
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.verify_deltas import verify_deltas
from gnnrec.inference.small_vectors import SIGN_SIZE, SIGNS, own_columns, scale_columns, stored_type
from gnnrec.utils.stored import check_recorded, check_regular

_AGAIN = "write it again with gnnrec export --overwrite"


@dataclasses.dataclass
class VerifyOptions:
    """Options of ``gnnrec export --verify``.

    Args:
        data: Prepared dataset, if it has moved since the export; by default the one that is recorded.
        base: Earlier export from which --deltas lead to this one: proves that it equals the base with the deltas.
        deltas: Deltas from --base to this export, in order.
    """

    data: Path | None = None
    base: Path | None = None
    deltas: list[str] = dataclasses.field(default_factory=list)


def verify(directory: Path, options: VerifyOptions) -> None:
    """Reads all files in bounded memory and prints one line.

    Checks checksums, counts, types and finite values; that raw ids are those of the dataset in row order, or unique
    without the dataset; that arrays equal the parts; and that the index opens.

    Args:
        directory: The export.
        options: The options.

    Raises:
        UserError: A check failed; the message names the file.
    """
    directory = Path(directory)
    if ExportDirectory(directory).is_unfinished:
        raise UserError(f"{directory} is unfinished: run the same gnnrec export again")
    if options.deltas and options.base is None:
        raise UserError("--deltas lead from one export to another: pass the first one with --base")
    manifest = read_manifest(directory, "pass the directory that gnnrec export has written")
    try:
        export = _Export(directory, manifest)
        export.check_files()
        dataset = _dataset(directory, manifest, options.data)
        for kind in ("users", "movies"):
            ids = None
            if dataset is not None and (kind == "movies" or "ratings" not in manifest):
                ids = getattr(dataset, kind)[kind.removesuffix("s")]
                ids = export.with_new(ids) if kind == "movies" else ids
            export.check_parts(kind, ids)
            export.check_arrays(kind)
        export.check_index()
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{directory / 'manifest.json'} is damaged ({error!r}): {_AGAIN}") from None
    size = sum(entry["bytes"] for entry in manifest["files"].values())
    ids = "unique (no dataset to compare with)" if dataset is None else "complete"
    print(
        f"{directory}: OK, {manifest['users']:,} users and {manifest['movies']:,} movies, {manifest['dim']} x "
        f"{manifest['dtype']}, {len(manifest['files'])} files of {size / 1e6:,.1f} MB, ids {ids}"
    )
    if options.base is not None:
        print(verify_deltas(options.base, [Path(delta) for delta in options.deltas], directory))


@dataclasses.dataclass(frozen=True)
class _Export:
    directory: Path
    manifest: dict

    def check_files(self) -> None:
        """Checks the files of the manifest, and that ``users`` and ``movies`` have no others."""
        for name, entry in self.manifest["files"].items():
            check_recorded(self.directory / name, entry, _AGAIN)
        for path in sorted(self.directory.glob("users/*")) + sorted(self.directory.glob("movies/*")):
            if str(path.relative_to(self.directory)) not in self.manifest["files"]:
                raise UserError(f"{path} does not belong to the export: remove it")

    def with_new(self, ids: pd.Series) -> pd.Series:
        """Appends the ids of the movies that are not in the dataset, whose number is checked."""
        count = self.manifest.get("new_movies")
        if not count:
            return ids
        path = self.directory / NEW_MOVIES_FILE
        new = pa.chunked_array(read_column([path], "movie")).to_pandas()
        if len(new) != count:
            raise UserError(f"{path} has {len(new)} movies, not {count}: {_AGAIN}")
        return pd.concat([ids, new.astype(ids.dtype)], ignore_index=True)

    def check_parts(self, kind: str, expected: pd.Series | None) -> None:
        """Checks rows, types, values and ids of ``users`` or ``movies``."""
        parts, singular = self._parts(kind), kind.removesuffix("s")
        names = [part.name for part in parts]
        if names != sorted(name for name in self.manifest["files"] if name.startswith(f"{kind}/")):
            raise UserError(
                f"{self.directory / 'manifest.json'}: its files do not hold {self.manifest[kind]} {kind}: {_AGAIN}"
            )
        seen = []
        for part in parts:
            path = self.directory / part.name
            self._check_schema(path, singular, len(part.rows))
            for column in self._columns(singular):
                if not all(np.isfinite(values).all() for values in read_numbers([path], column)):
                    raise UserError(f"{path}: {column} has NaN or infinite values: train again, then {_AGAIN}")
            ids = pa.chunked_array(read_column([path], singular)).to_pandas()
            if expected is not None:
                wanted = expected.iloc[part.rows.start : part.rows.stop]
                if not np.array_equal(ids.to_numpy(), wanted.to_numpy()):
                    raise UserError(f"{path}: ids differ from the dataset from row {part.rows.start} on: {_AGAIN}")
            else:
                seen.append(ids)
        if seen and (repeated := pd.concat(seen).duplicated()).any():
            duplicate = pd.concat(seen)[repeated].iloc[0]
            raise UserError(f"{self.directory / kind}: {singular} {duplicate} is duplicated: {_AGAIN}")

    def _check_schema(self, path: Path, singular: str, rows: int) -> None:
        dim, dtype = self.manifest["dim"], pa.from_numpy_dtype(np.dtype(stored_type(self.manifest["dtype"])))
        with pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
        flags = ["cold"] if self.manifest.get(f"cold_{singular}s") else []
        signs = [SIGNS] if self.manifest["dtype"] == "binary" and singular == "movie" else []
        numbers = self._columns(singular)
        if sorted(schema.names) != sorted([singular, *numbers, *signs, *flags]):
            raise UserError(f"{path} has columns {', '.join(schema.names)}: {_AGAIN}")
        if any(schema.field(name).type != pa.binary(-(-dim // 8)) for name in signs):
            raise UserError(f"{path}: {SIGNS} have another size than {dim} bits: {_AGAIN}")
        others = {schema.field(name).type for name in numbers[1:]}
        others |= {pa.float32()} if all(schema.field(name).type == pa.bool_() for name in flags) else {None}
        if schema.field("embedding").type != pa.list_(dtype, dim) or others != {pa.float32()}:
            raise UserError(f"{path}: embeddings are {schema.field('embedding').type}, not {dim} x {dtype}: {_AGAIN}")
        if count != rows:
            raise UserError(f"{path} has {count} rows, not {rows}: {_AGAIN}")

    def _columns(self, singular: str) -> list[str]:
        """Names of the columns of numbers."""
        has_norm = singular == "user" and "interest" in self.manifest
        scales = scale_columns(self.manifest["dtype"], self.manifest["dim"], own_columns(self.manifest))
        sizes = [SIGN_SIZE] if self.manifest["dtype"] == "binary" and singular == "movie" else []
        return ["embedding", "bias", *scales, *(["interest_norm"] if has_norm else []), *sizes]

    def check_arrays(self, kind: str) -> None:
        """Checks arrays and ids by row, where the export has them."""
        singular, paths = kind.removesuffix("s"), [self.directory / part.name for part in self._parts(kind)]
        rows, dim = self.manifest[kind], self.manifest["dim"]
        shapes = {f"{kind}.npy": ("embedding", (rows, dim)), f"{singular}_bias.npy": ("bias", (rows,))}
        for name in scale_columns(self.manifest["dtype"], dim, own_columns(self.manifest)):
            shapes[f"{singular}_{name}.npy"] = (name, (rows,))
        for name, (column, shape) in shapes.items():
            if name in self.manifest["files"]:
                path = self.directory / name
                array = _open_array(path)
                if array.shape != shape or not _same(array.reshape(-1), read_numbers(paths, column)):
                    raise UserError(f"{path} differs from the files in {self.directory / kind}: {_AGAIN}")
        if f"{singular}_ids.parquet" in self.manifest["files"]:
            path = self.directory / f"{singular}_ids.parquet"
            ids, expected = (pa.chunked_array(read_column(source, singular)) for source in ([path], paths))
            row = pa.chunked_array(read_column([path], "row")).to_numpy()
            if not ids.equals(expected) or not np.array_equal(row, np.arange(rows)):
                raise UserError(f"{path} differs from the files in {self.directory / kind}: {_AGAIN}")

    def check_index(self) -> None:
        """Checks the index of movies, where the export has one."""
        if export_index.NAME in self.manifest["files"]:
            path, about = self.directory / export_index.NAME, self.manifest["index"]
            index = export_index.open_index(path)
            expected = self.manifest["movies"], self.manifest["dim"] + 1
            if (index.ntotal, index.d) != expected or (about["movies"], about["dim"]) != expected:
                raise UserError(f"{path} has {index.ntotal} movies in {index.d} dimensions, not {expected}: {_AGAIN}")

    def _parts(self, kind: str) -> list[ExportPart]:
        return split_into_parts(kind, self.manifest[kind], self.manifest["identity"]["part_rows"])


def _dataset(directory: Path, manifest: dict, data: Path | None) -> PreparedDataset | None:
    """Opens the dataset of the export; None where it has moved and ``data`` is None."""
    path, fingerprint = Path(manifest["data"]), manifest["dataset_fingerprint"]
    if data is not None:
        return open_recorded(path, data, fingerprint, f"of {directory}")
    dataset = PreparedDataset(path) if path.exists() else None
    return dataset if dataset is not None and dataset.fingerprint == fingerprint else None


def _open_array(path: Path) -> np.ndarray:
    check_regular(path, _AGAIN)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): {_AGAIN}") from None


def _same(array: np.ndarray, chunks: Iterator[np.ndarray]) -> bool:
    first = 0
    for chunk in chunks:
        if not np.array_equal(array[first : first + len(chunk)], chunk):
            return False
        first += len(chunk)
    return first == len(array)
