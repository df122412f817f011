"""Vectors of an export, read without pandas and torch; for one user only one file of vectors is read."""

from __future__ import annotations

import bisect
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data.arrow_numbers import numbers
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.same_dataset import open_recorded
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import FORMAT, FORMAT_VERSION, MANIFEST, NEW_MOVIES_FILE
from gnnrec.inference.movie_catalog import MovieCatalog, example_ids, find_id
from gnnrec.inference.numpy_users.encoder import NumpyEncoder
from gnnrec.inference.numpy_users.parts import UserParts
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.inference.reasons.known import known_features, known_ratings, parts_of_stored
from gnnrec.inference.scoring import Scoring, interest_entries
from gnnrec.inference.small_vectors import decode, own_columns, scale_columns
from gnnrec.inference.vector_source import UserBlock
from gnnrec.utils.resource_errors import reraise_out_of_memory
from gnnrec.utils.stored import check_recorded, irregularity, read_json

if TYPE_CHECKING:
    from gnnrec.inference.new_users import NewUsers


class ExportVectors:
    """An export as :class:`gnnrec.inference.vector_source.VectorSource`.

    Args:
        directory: The export.
        data: The prepared dataset, if it has moved since the export.
        file: The ratings file that the export was made from, if any.

    Raises:
        UserError: Not a complete export, a damaged file, or another dataset.
    """

    def __init__(self, directory: Path, data: Path | None = None, file: RatingsFile | None = None):
        self.directory, self.manifest = Path(directory), read_manifest(Path(directory))
        self.num_users, self._file = self.manifest["users"], file
        fingerprint = self.manifest["dataset_fingerprint"]
        dataset = open_recorded(self.manifest["data"], data, fingerprint, f"of {self.directory}")
        new = self._read(self._opened(NEW_MOVIES_FILE), NEW_MOVIES_FILE) if self.manifest.get("new_movies") else None
        self.catalog = MovieCatalog(dataset, _ratings(self.directory, self.manifest, file, dataset), new)
        names = sorted(name for name in self.manifest["files"] if name.startswith("users/"))
        self._parts = [(int(Path(name).stem.removeprefix("part-")), name) for name in names]
        self._open = lru_cache(maxsize=2)(self._opened)
        self._group = lru_cache(maxsize=2)(self._read_group)

    @cached_property
    def _movies(self) -> list[pa.Table]:
        names = sorted(name for name in self.manifest["files"] if name.startswith("movies/"))
        return [self._read(self._opened(name), name) for name in names]

    @cached_property
    def cold(self) -> np.ndarray:
        """Movies that the model was trained without ratings of, bool ``[movies]``."""
        if not self.manifest.get("cold_movies"):
            return np.zeros(self.manifest["movies"], bool)
        return np.concatenate([table["cold"].to_numpy() for table in self._movies])

    @cached_property
    def scoring(self) -> Scoring:
        """Movies and weights that score pairs."""
        tables = self._movies
        vectors, bias = (
            np.concatenate(arrays) for arrays in zip(*(self._arrays(table, self.directory) for table in tables))
        )
        head = {}
        if "head.npz" in self.manifest["files"]:
            with np.load(self._checked("head.npz")) as arrays:
                head = {name: arrays[name].astype(np.float32) for name in arrays.files}
        scale = self.manifest.get("rating_scale")
        scale = tuple(scale) if scale else None
        return Scoring(vectors, bias, self.manifest["offset"], scale, head, *interest_entries(self.manifest))

    @property
    def identity(self) -> dict:
        """Values that are equal for two sources with the same vectors."""
        return {
            "source": f"export, {self.manifest['dtype']}",
            "model": self.manifest["model_fingerprint"],
            "dataset": self.manifest["dataset_fingerprint"],
            "users": self.catalog.ratings.fingerprint,
            "interest": self.manifest.get("interest_fingerprint"),
            **({"new_movies": new} if (new := self.manifest["identity"].get("new_movies")) else {}),
        }

    def find(self, user: str) -> int:
        """Returns the row of a user; reads only ids."""
        shown = ""
        for first, name in self._parts:
            file = self._open(name)
            ids = self._read(file, name, columns=["user"]).column("user")
            row = find_id(ids, user)
            if row is not None:
                return first + row
            shown = shown or example_ids(ids)
        raise UserError(f"--user {user}: no user in {self.directory} has this id (ids look like {shown})")

    def block(self, rows: range) -> UserBlock:
        """Reads users by global rows."""
        blocks, row = [], rows.start
        while row < rows.stop:
            table, first = self._group_of(row)
            users = table.slice(row - first, rows.stop - row)
            blocks.append((users.column("user").combine_chunks(), *self._arrays(users, self.directory / "users")))
            row += len(users)
        ids, vectors, bias = zip(*blocks)
        return UserBlock(pa.concat_arrays(list(ids)), np.concatenate(vectors), np.concatenate(bias))

    def user_parts(self, row: int) -> UserParts:
        """Splits the vector of a user."""
        encoder, users = self.encoder, self._embedded
        rated = known_ratings(users, row, encoder.splits)
        x = known_features(self.catalog.dataset, users, row) if encoder.feature_columns else None
        return parts_of_stored(encoder, rated, x, self.block(range(row, row + 1)).vectors[0], row)

    @cached_property
    def encoder(self) -> NumpyEncoder:
        """Encodes users from ratings."""
        return NumpyEncoder.open(self.directory, self.manifest)

    @cached_property
    def _embedded(self) -> PreparedDataset | NewUsers:
        """The users, with the ratings that they are embedded from: the catalog has all of known users of a file."""
        dataset, file = self.catalog.dataset, self._file
        return dataset if file is None else file.read(dataset, self.encoder.splits)

    def _group_of(self, row: int) -> tuple[pa.Table, int]:
        """Returns the row group that contains a row, and its first row."""
        first, name = self._parts[bisect.bisect_right(self._parts, (row, "~")) - 1]
        metadata = self._open(name).metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if row < first + rows:
                return self._group(name, group), first
            first += rows
        raise UserError(f"{self.directory / name} has too few rows: export again")

    def _read_group(self, name: str, group: int) -> pa.Table:
        return self._read(self._open(name), name, groups=[group])

    def _opened(self, name: str) -> pq.ParquetFile:
        path = self._checked(name)
        try:
            return pq.ParquetFile(path)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from None

    def _read(
        self, file: pq.ParquetFile, name: str, columns: list[str] | None = None, groups: list[int] | None = None
    ) -> pa.Table:
        try:
            if groups is not None:
                return file.read_row_groups(groups, columns=columns)
            return file.read(columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.directory / name, error) from None

    def _checked(self, name: str) -> Path:
        """Returns the path of a file after checking its size."""
        path = self.directory / name
        check_recorded(path, self.manifest["files"][name], "export again", sums=False)
        return path

    def _arrays(self, table: pa.Table, place: Path) -> tuple[np.ndarray, np.ndarray]:
        """Returns vectors and biases as float32."""
        dim = self.manifest["dim"]
        columns = table["embedding"].chunks
        chunks = [numbers(column.values)[column.offset * dim :][: len(column) * dim] for column in columns]
        stored = {"embedding": np.concatenate(chunks).reshape(len(table), dim)}
        for name in scale_columns(self.manifest["dtype"], dim, own_columns(self.manifest)):
            stored[name] = numbers(table.column(name))
        vectors = decode(stored, own_columns(self.manifest))
        bias = numbers(table.column("bias"))
        if table["bias"].null_count or any(column.values.null_count for column in columns):
            raise UserError(f"{place} has missing values: export again")
        if not (np.isfinite(vectors).all() and np.isfinite(bias).all()):
            raise UserError(f"{place} has NaN or infinite values: the model diverged, train it again")
        return vectors, bias


def read_manifest(directory: Path, advice: str = "pass a run directory or an export") -> dict:
    """Reads the manifest of a complete export.

    Args:
        directory: The export.
        advice: End of the message about a directory that holds something else.

    Raises:
        UserError: It is damaged, not of an export, or of another version.
    """
    path = directory / MANIFEST
    if irregularity(path) == "is missing":
        raise UserError(f"{directory} is not a complete export (no {MANIFEST}): {advice}")
    content = read_json(path, "run gnnrec export again")
    if content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe an export: {advice}")
    if content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {content.get('format_version')}, this program reads {FORMAT_VERSION}: "
            "run gnnrec export again"
        )
    return content


def _ratings(directory: Path, manifest: dict, file: RatingsFile | None, dataset: PreparedDataset) -> NewUsers | None:
    entry = manifest.get("ratings")
    if entry is None and file is None:
        return None
    if entry is None:
        option = "--user-features" if file.path is None else "--ratings"
        raise UserError(f"{file.option}: {directory} has the users of the dataset; leave {option} out, or pass the run")
    if file is None:
        raise UserError(
            f"{directory} has the users of {entry['file']}: pass that file with {entry.get('option', '--ratings')}"
        )
    users = file.read(dataset)
    if users.fingerprint != entry["fingerprint"]:
        raise UserError(f"{file.option} is not the file that {directory} was made from ({entry['file']})")
    return users


def _damaged(path: Path, error: Exception) -> UserError:
    reraise_out_of_memory(error)
    reason = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
    return UserError(f"{path} is damaged ({reason}): export again")
