"""The prepared dataset: a directory of memory-mappable arrays sorted by user row, and a manifest.

==================  ========================================================================================
``manifest.json``   format version, counts, rating scale, split, shard boundaries, a checksum for every file
``users.parquet``   ``row`` (int64), ``user`` (raw id: int64 or string), in row order
``movies.parquet``  ``row`` (int64), ``movie`` (raw id), ``title`` (string), ``genres`` (string, ``|`` between)
``user_ptr.npy``    int64 ``[users + 1]``: user ``u`` owns edges ``user_ptr[u]`` to ``user_ptr[u + 1]``
``movie.npy``       int32 ``[ratings]``: movie row of each edge, ascending within a user
``rating.npy``      float32 ``[ratings]``
``split.npy``       uint8 ``[ratings]``: a position in :data:`SPLIT_NAMES`
``timestamp.npy``   int64 ``[ratings]``, seconds since 1970; absent when the source has no times
==================  ========================================================================================

Users are ordered so that every shard, a contiguous range of rows, has about the same number of edges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gnnrec.errors import UserError
from gnnrec.utils import files

if TYPE_CHECKING:  # pandas is imported late: programs that read no table start faster
    import pandas as pd

FORMAT = "gnnrec-prepared"
#: Written last: a directory that contains it is a prepared dataset.
MANIFEST = "manifest.json"
FORMAT_VERSION = 2
TRAIN, VALIDATION, TEST = 0, 1, 2
#: Model inputs of held-out users, and ratings that a ranking protocol leaves out.
VALIDATION_INPUT, TEST_INPUT, UNUSED = 3, 4, 5
SPLIT_NAMES = ("train", "validation", "test", "validation_input", "test_input", "unused")


#: Values of the option ``refit``: train on train, on train and validation, or on all ratings.
Refit = bool | Literal["all"]


def message_splits(refit: Refit) -> tuple[int, ...]:
    """Splits used as messages and targets: train and, for ``refit``, validation; test only for ``all``."""
    if refit == "all":
        return tuple(range(len(SPLIT_NAMES)))
    return (TRAIN, VALIDATION) if refit else (TRAIN,)


_REQUIRED_ARRAYS = ("user_ptr", "movie", "rating", "split")


@dataclasses.dataclass
class Manifest:
    """Contents of ``manifest.json``.

    Attributes:
        source: Origin of the ratings: file names, sizes, checksums, the options used.
        counts: ``users``, ``movies``, ``ratings``, ``duplicates_dropped``.
        rating: ``min``, ``max`` (the scale), ``mean`` and ``std`` of the train ratings (``std`` is 1 if they are equal)
            and ``levels``, the ascending centers of the rating levels. A rating belongs to the nearest level; with at
            most 64 distinct train ratings the levels are those ratings.
        split: ``protocol``, ``test``, ``validation`` (fractions), ``seed``, the options of ranking protocols
            (:data:`gnnrec.data.split_ranking.RANKING_OPTIONS`) and ``counts`` by split name.
        order: Method that ordered users into shards: ``balanced`` or ``metis``.
        shards: Row boundaries of the shards, ``num_shards + 1`` ascending integers from 0 to ``counts["users"]``.
        files: File name -> ``{"bytes": int, "sha256": str}`` for every other file in the directory.
    """

    source: dict
    counts: dict
    rating: dict
    split: dict
    order: str
    shards: list[int]
    files: dict = dataclasses.field(default_factory=dict)
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """Hash of the checksums of all files (64 hexadecimal digits); identifies the contents."""
        lines = sorted(f"{name} {entry['sha256']}" for name, entry in self.files.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_prepared(
    directory: Path,
    manifest: Manifest,
    users: pd.DataFrame,
    movies: pd.DataFrame,
    arrays: dict[str, np.ndarray],
) -> Manifest:
    """Writes a prepared dataset into an empty directory (see :func:`gnnrec.utils.files.complete_directory`).

    Args:
        directory: An existing, empty directory.
        manifest: All fields except ``files``, which is filled in here.
        users: Columns ``row``, ``user``.
        movies: Columns ``row``, ``movie``, ``title``, ``genres``.
        arrays: ``user_ptr``, ``movie``, ``rating``, ``split`` and, if known, ``timestamp``.
    """
    users.to_parquet(directory / "users.parquet", index=False)
    movies.to_parquet(directory / "movies.parquet", index=False)
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array, allow_pickle=False)
    return write_manifest(directory, manifest)


def write_manifest(directory: Path, manifest: Manifest, known_checksums: dict[str, str] | None = None) -> Manifest:
    """Fills in ``files`` from the files in the directory and writes ``manifest.json``.

    Args:
        directory: The directory.
        manifest: All fields except ``files``.
        known_checksums: SHA-256 checksums of files that need not be read again.
    """
    known_checksums = known_checksums or {}
    paths = sorted(directory.iterdir())
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(lambda path: known_checksums.get(path.name) or files.sha256(path), paths)
        manifest.files = {
            path.name: {"bytes": path.stat().st_size, "sha256": checksum} for path, checksum in zip(paths, checksums)
        }
    text = json.dumps(dataclasses.asdict(manifest) | {"fingerprint": manifest.fingerprint}, indent=1)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


class PreparedDataset:
    """A prepared dataset with memory-mapped arrays, so a rank reads only the ranges it slices.

    Args:
        directory: Output directory of ``gnnrec prepare``.
        verify: Compare every file with its checksum (reads all data). Sizes are always compared.

    Raises:
        UserError: The directory is not a prepared dataset, has another format version, or is damaged.
    """

    def __init__(self, directory: str | Path, verify: bool = False):
        self.directory = Path(directory)
        self.manifest = _read_manifest(self.directory)
        for name, entry in self.manifest.files.items():
            _check_file(self.directory / name, entry, verify)
        missing = [name for name in _REQUIRED_ARRAYS if f"{name}.npy" not in self.manifest.files]
        if missing:
            raise UserError(f"{self.directory}: manifest.json does not list {missing[0]}.npy: run gnnrec prepare again")

    def __repr__(self) -> str:
        counts = f"{self.num_users:,} users, {self.num_movies:,} movies, {self.num_ratings:,} ratings"
        return f"PreparedDataset({str(self.directory)!r}: {counts})"

    @property
    def num_users(self) -> int:
        return self.manifest.counts["users"]

    @property
    def num_movies(self) -> int:
        return self.manifest.counts["movies"]

    @property
    def num_ratings(self) -> int:
        return self.manifest.counts["ratings"]

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @cached_property
    def user_ptr(self) -> np.ndarray:
        """int64 ``[users + 1]``."""
        return self._array("user_ptr")

    @property
    def movie(self) -> np.ndarray:
        """int32 ``[ratings]``: movie rows."""
        return self._array("movie")

    @property
    def rating(self) -> np.ndarray:
        """float32 ``[ratings]``."""
        return self._array("rating")

    @property
    def split(self) -> np.ndarray:
        """uint8 ``[ratings]``."""
        return self._array("split")

    @property
    def timestamp(self) -> np.ndarray | None:
        """int64 ``[ratings]`` in seconds since 1970, or None."""
        return self._array("timestamp") if "timestamp.npy" in self.manifest.files else None

    @cached_property
    def users(self) -> pd.DataFrame:
        """``row``, ``user`` (raw id), in row order."""
        return _table(self.directory / "users.parquet")

    @cached_property
    def movies(self) -> pd.DataFrame:
        """``row``, ``movie`` (raw id), ``title``, ``genres``, in row order."""
        return _table(self.directory / "movies.parquet")

    def _array(self, name: str) -> np.ndarray:
        path = self.directory / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): run gnnrec prepare again") from None


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): run gnnrec prepare again") from None


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{directory} is not a prepared dataset (no manifest.json): run gnnrec prepare first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): run gnnrec prepare again") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a prepared dataset: run gnnrec prepare")
    if content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {content.get('format_version')}, but this program reads {FORMAT_VERSION}: "
            "run gnnrec prepare again"
        )
    content.pop("fingerprint", None)
    try:
        manifest = Manifest(**content)
        problem = _find_problem(manifest)
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): run gnnrec prepare again") from None
    if problem:
        raise UserError(f"{path} is damaged ({problem}): run gnnrec prepare again")
    return manifest


def _find_problem(manifest: Manifest) -> str | None:
    """Checks for mistakes that other programs that write the format may make; returns the first, or None."""
    missing = [name for name in ("users", "movies", "ratings") if not isinstance(manifest.counts.get(name), int)]
    missing += [name for name in ("protocol", "counts") if name not in manifest.split]
    missing += [name for name in ("min", "max", "mean", "std", "levels") if name not in manifest.rating]
    if missing:
        return f"no {missing[0]}"
    if not manifest.rating["std"] > 0:
        return f"a standard deviation of {manifest.rating['std']}"
    shards, users = manifest.shards, manifest.counts["users"]
    if len(shards) < 2 or (shards[0], shards[-1]) != (0, users) or any(a > b for a, b in zip(shards, shards[1:])):
        return f"shards do not rise from 0 to {users} users"
    return None


def _check_file(path: Path, entry: dict, verify: bool) -> None:
    if not path.exists():
        raise UserError(f"{path} is missing: run gnnrec prepare again")
    if path.stat().st_size != entry["bytes"]:
        raise UserError(f"{path} has {path.stat().st_size} bytes, not {entry['bytes']}: run gnnrec prepare again")
    if verify and files.sha256(path) != entry["sha256"]:
        raise UserError(f"{path} does not match its checksum: run gnnrec prepare again")
