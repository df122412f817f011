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
from typing import TYPE_CHECKING

import numpy as np

from gnnrec.errors import UserError
from gnnrec.utils import files

if TYPE_CHECKING:  # who asks for no table does without, and starts sooner
    import pandas as pd

FORMAT = "gnnrec-prepared"
#: Comes last: a directory with it is a prepared dataset.
MANIFEST = "manifest.json"
FORMAT_VERSION = 1
TRAIN, VALIDATION, TEST = 0, 1, 2
#: What is shown of users who are held out as a whole, and ratings that a ranking protocol leaves out.
VALIDATION_INPUT, TEST_INPUT, UNUSED = 3, 4, 5
SPLIT_NAMES = ("train", "validation", "test", "validation_input", "test_input", "unused")


def message_splits(refit: bool) -> tuple[int, ...]:
    """Splits whose edges are messages and targets: train, and validation where a model is refitted. Never test."""
    return (TRAIN, VALIDATION) if refit else (TRAIN,)


_REQUIRED_ARRAYS = ("user_ptr", "movie", "rating", "split")


@dataclasses.dataclass
class Manifest:
    """What ``manifest.json`` says.

    Attributes:
        source: Where the ratings came from: file names, sizes, checksums, the options used.
        counts: ``users``, ``movies``, ``ratings``, ``duplicates_dropped``.
        rating: ``min``, ``max`` (the scale) and ``levels``, the ascending centres of the rating levels. A rating
            belongs to the nearest level; with at most 64 distinct ratings the levels are those ratings.
        split: ``protocol``, ``test``, ``validation`` (fractions), ``seed``, the options of ranking protocols
            (:data:`gnnrec.data.split_ranking.RANKING_OPTIONS`) and ``counts`` by split name.
        order: How users were ordered into shards: ``balanced`` or ``metis``.
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
        """Identifies the contents: a hash of the checksums of all files (64 hexadecimal digits)."""
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
        manifest: Everything but ``files``, which is filled in here.
        users: Columns ``row``, ``user``.
        movies: Columns ``row``, ``movie``, ``title``, ``genres``.
        arrays: ``user_ptr``, ``movie``, ``rating``, ``split`` and, where known, ``timestamp``.
    """
    users.to_parquet(directory / "users.parquet", index=False)
    movies.to_parquet(directory / "movies.parquet", index=False)
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array, allow_pickle=False)
    return write_manifest(directory, manifest)


def write_manifest(directory: Path, manifest: Manifest, known: dict[str, str] | None = None) -> Manifest:
    """Fills ``files`` in from the files that are there, and writes ``manifest.json``.

    Args:
        directory: The directory.
        manifest: Everything but ``files``.
        known: Checksums (SHA-256) of files that need not be read again.
    """
    known = known or {}
    paths = sorted(directory.iterdir())
    with ThreadPoolExecutor() as pool:
        checksums = pool.map(lambda path: known.get(path.name) or files.sha256(path), paths)
        manifest.files = {
            path.name: {"bytes": path.stat().st_size, "sha256": checksum} for path, checksum in zip(paths, checksums)
        }
    text = json.dumps(dataclasses.asdict(manifest) | {"fingerprint": manifest.fingerprint}, indent=1)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


class PreparedDataset:
    """Opens a prepared dataset; arrays are memory-mapped, so a rank reads only the ranges it slices.

    Args:
        directory: Where ``gnnrec prepare`` wrote it.
        verify: Compare every file with its checksum (reads everything). Sizes are always compared.

    Raises:
        UserError: Not a prepared dataset, of another format version, or damaged.
    """

    def __init__(self, directory: str | Path, verify: bool = False):
        self.directory = Path(directory)
        self.manifest = _read_manifest(self.directory)
        for name, entry in self.manifest.files.items():
            _check_file(self.directory / name, entry, verify)
        missing = [name for name in _REQUIRED_ARRAYS if f"{name}.npy" not in self.manifest.files]
        if missing:
            raise UserError(f"{self.directory}: {missing[0]}.npy is not in manifest.json: run gnnrec prepare again")

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
            f"{path}: format version {content.get('format_version')}, this program reads {FORMAT_VERSION}: "
            "run gnnrec prepare again"
        )
    content.pop("fingerprint", None)
    try:
        manifest = Manifest(**content)
        wrong = _wrong_in(manifest)
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): run gnnrec prepare again") from None
    if wrong:
        raise UserError(f"{path} is damaged ({wrong}): run gnnrec prepare again")
    return manifest


def _wrong_in(manifest: Manifest) -> str | None:
    """What other programs that write the format may get wrong."""
    lacking = [name for name in ("users", "movies", "ratings") if not isinstance(manifest.counts.get(name), int)]
    lacking += [name for name in ("protocol", "counts") if name not in manifest.split]
    lacking += [name for name in ("min", "max", "levels") if name not in manifest.rating]
    if lacking:
        return f"no {lacking[0]}"
    shards, users = manifest.shards, manifest.counts["users"]
    if len(shards) < 2 or (shards[0], shards[-1]) != (0, users) or any(a > b for a, b in zip(shards, shards[1:])):
        return f"shards do not rise from 0 to the {users} users"
    return None


def _check_file(path: Path, entry: dict, verify: bool) -> None:
    if not path.exists():
        raise UserError(f"{path} is missing: run gnnrec prepare again")
    if path.stat().st_size != entry["bytes"]:
        raise UserError(f"{path} has {path.stat().st_size} bytes, not {entry['bytes']}: run gnnrec prepare again")
    if verify and files.sha256(path) != entry["sha256"]:
        raise UserError(f"{path} does not match its checksum: run gnnrec prepare again")
