"""The prepared dataset: a directory of memory-mappable arrays sorted by user row, and a manifest.

==================  ========================================================================================
``manifest.json``   format version, counts, rating scale, split, shard boundaries, a checksum for every file and
                    for every shard of an array
``users.parquet``   ``row`` (int64), ``user`` (raw id: int64 or string), in row order
``movies.parquet``  ``row`` (int64), ``movie`` (raw id), ``title`` (string), ``genres`` (string, ``|`` between)
``user_ptr.npy``    int64 ``[users + 1]``: user ``u`` owns edges ``user_ptr[u]`` to ``user_ptr[u + 1]``
``movie.npy``       int32 ``[ratings]``: movie row of each edge, ascending within a user
``rating.npy``      float32 ``[ratings]``
``split.npy``       uint8 ``[ratings]``: a position in :data:`SPLIT_NAMES`
``timestamp.npy``   int64 ``[ratings]``, seconds since 1970; absent when the source has no times
``features.json``   schema of the features of users and movies, with arrays beside it (:mod:`node_features
                    <gnnrec.data.features.node_features>`); absent when there are none
==================  ========================================================================================

Users are ordered so that every shard, a contiguous range of rows, has about the same number of edges. Files of a
dataset that has grown (:mod:`gnnrec.data.growth`) are in ``generations/``; the manifest has the path of each.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gnnrec.data.features.node_features import NODES, Node, NodeFeatures, open_features
from gnnrec.data.manifest_problems import find_problem
from gnnrec.data.shard_check import DTYPES, ShardChecks, check_array
from gnnrec.errors import UserError
from gnnrec.utils.resource_errors import reraise_out_of_memory
from gnnrec.utils.stored import check_recorded, irregularity, read_json

if TYPE_CHECKING:  # imported late: programs that read no table start faster
    import pandas as pd
    import pyarrow as pa

FORMAT = "gnnrec-prepared"
#: Written last: a directory that contains it is a prepared dataset.
MANIFEST = "manifest.json"
FORMAT_VERSION = 3
#: Without checksums of shards; their fingerprint is that of the files alone.
_OLDER_VERSION = 2
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


#: Files with the row that each user or movie had before its rows were last moved, int64; -1 for none.
ROWS_BEFORE: dict[Node, str] = {node: f"{node}_rows_before.npy" for node in NODES}
_REQUIRED_FILES = ("user_ptr.npy", "movie.npy", "rating.npy", "split.npy", "users.parquet", "movies.parquet")


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
        files: File name -> ``{"bytes": int, "sha256": str}`` for every other file in the directory; of arrays also
            ``shards``, the CRC-32 of every shard (:func:`gnnrec.data.shard_check.shard_checksums`), and of files that
            are not directly in the directory ``path``, where they are.
        increments: Ratings that were appended or removed since the dataset was prepared, or since the last
            ``--compact``, in order (:mod:`gnnrec.data.growth`).
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
    increments: list[dict] = dataclasses.field(default_factory=list)

    def path(self, name: str) -> str:
        """Path of a file in the directory."""
        return self.files.get(name, {}).get("path", name)

    def text(self) -> str:
        """Text of ``manifest.json``; no increments are left out, so that older programs read it."""
        values = {name: value for name, value in dataclasses.asdict(self).items() if name != "increments" or value}
        return json.dumps(values | {"fingerprint": self.fingerprint}, indent=1)

    @property
    def fingerprint(self) -> str:
        """Hash of what models depend on (64 hexadecimal digits): the checksums of all files, and this manifest.

        ``source`` does not belong to it, except for ``implicit``: the same ratings may come from other files.
        Neither do the rows that users and movies had before.
        """
        files = {name: entry for name, entry in self.files.items() if name not in ROWS_BEFORE.values()}
        lines = sorted(f"{name} {entry['sha256']}" for name, entry in files.items())
        if self.format_version > _OLDER_VERSION:
            own = {name: getattr(self, name) for name in ("counts", "rating", "split", "order", "shards")}
            lines.append(json.dumps(own | {"implicit": bool(self.source.get("implicit"))}, sort_keys=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
            _check_file(self.path(name), entry, verify)
        missing = [name for name in _REQUIRED_FILES if name not in self.manifest.files]
        if missing:
            raise UserError(f"{self.directory}: manifest.json does not list {missing[0]}: run gnnrec prepare again")
        self._checks = ShardChecks(self, len(SPLIT_NAMES))
        for name in DTYPES:
            if f"{name}.npy" in self.manifest.files:
                getattr(self, name)  # checks its type and length
        for node in NODES:
            self.features(node)  # checks their schema, type and shape

    def path(self, name: str) -> Path:
        """Path of a file of the dataset, such as ``movie.npy``."""
        path = self.directory / self.manifest.path(name)
        if not path.exists() and _read_manifest(self.directory).fingerprint != self.fingerprint:
            raise UserError(f"{self.directory} has changed since it was opened and its files are gone: open it again")
        return path

    def check(self, first: int = 0, end: int | None = None) -> None:
        """Checks the values of the shards with users from row ``first`` to ``end - 1``, by default of all.

        Every shard is checked once, so this is called wherever edges are read.

        Raises:
            UserError: A value is out of bounds, or a checksum does not match.
        """
        self._checks.check(first, self.num_users if end is None else end)

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
        return self.table("users").to_pandas()

    @cached_property
    def movies(self) -> pd.DataFrame:
        """``row``, ``movie`` (raw id), ``title``, ``genres``, in row order."""
        return self.table("movies").to_pandas()

    def features(self, node: Node) -> NodeFeatures | None:
        """Features of users or of movies, in the order of their rows; None if there are none.

        Args:
            node: The type of node.
        """
        rows = self.num_users if node == "user" else self.num_movies
        return open_features(self.path, node, self.manifest.files, self.manifest.shards, rows)

    def _array(self, name: str) -> np.ndarray:
        path = self.path(f"{name}.npy")
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): run gnnrec prepare again") from None
        check_array(str(path), name, array, self.num_users + 1 if name == "user_ptr" else self.num_ratings)
        return array

    def table(self, name: str) -> pa.Table:
        """Reads ``users`` or ``movies`` without pandas.

        Raises:
            UserError: The file is damaged: Parquet has no checksums of its own that readers compare.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from gnnrec.data.arrow_numbers import numbers

        path, rows = self.path(f"{name}.parquet"), self.num_users if name == "users" else self.num_movies
        columns = ("row", "user") if name == "users" else ("row", "movie", "title", "genres")
        _check_file(path, self.manifest.files[f"{name}.parquet"], verify=True)
        try:
            with pq.ParquetFile(path) as file:
                table = file.read()
        except (pa.ArrowException, OSError) as error:
            reraise_out_of_memory(error)
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): run gnnrec prepare again") from None
        if missing := [column for column in columns if column not in table.column_names]:
            raise UserError(f"{path} is damaged (no column {missing[0]}): run gnnrec prepare again")
        if not np.array_equal(numbers(table.column("row")), np.arange(rows)):
            raise UserError(f"{path} is damaged (its rows are not 0 to {rows - 1}): run gnnrec prepare again")
        return table


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    if irregularity(path) == "is missing":
        raise UserError(f"{directory} is not a prepared dataset (no manifest.json): run gnnrec prepare first")
    content = read_json(path, "run gnnrec prepare again")
    if content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a prepared dataset: run gnnrec prepare")
    if content.get("format_version") not in (_OLDER_VERSION, FORMAT_VERSION):
        raise UserError(
            f"{path} has format version {content.get('format_version')}, but this program reads {FORMAT_VERSION}: "
            "run gnnrec prepare again"
        )
    written = content.pop("fingerprint", None)
    try:
        manifest = Manifest(**content)
        problem = find_problem(manifest, SPLIT_NAMES)
        if problem is None and written not in (None, manifest.fingerprint):
            problem = "it was changed after it was written"
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run gnnrec prepare again") from None
    if problem:
        raise UserError(f"{path} is damaged ({problem}): run gnnrec prepare again")
    return manifest


def _check_file(path: Path, entry: dict, verify: bool) -> None:
    check_recorded(path, entry, "run gnnrec prepare again", sums=verify)
