"""Writes a prepared dataset (:mod:`gnnrec.data.prepared`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gnnrec.data.prepared import MANIFEST, Manifest
from gnnrec.data.shard_check import shard_checksums
from gnnrec.data.threads import in_threads
from gnnrec.utils import files

if TYPE_CHECKING:  # pandas is imported late: programs that read no table start faster
    import pandas as pd


def write_prepared(
    directory: Path,
    manifest: Manifest,
    users: pd.DataFrame,
    movies: pd.DataFrame,
    arrays: dict[str, np.ndarray],
    write_more: Callable[[Path], None] | None = None,
) -> Manifest:
    """Writes a prepared dataset into an empty directory (see :func:`gnnrec.utils.files.complete_directory`).

    Args:
        directory: An existing, empty directory.
        manifest: All fields except ``files``, which is filled in here.
        users: Columns ``row``, ``user``.
        movies: Columns ``row``, ``movie``, ``title``, ``genres``.
        arrays: ``user_ptr``, ``movie``, ``rating``, ``split`` and, if known, ``timestamp``.
        write_more: Writes further files into the directory, such as features, once these are there.
    """
    users.to_parquet(directory / "users.parquet", index=False)
    movies.to_parquet(directory / "movies.parquet", index=False)
    in_threads(lambda name: np.save(directory / f"{name}.npy", arrays[name], allow_pickle=False), arrays)
    if write_more is not None:
        write_more(directory)
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
    # Opened here: numpy.load must not run in two threads (findings/numpy_load_in_threads.py).
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in paths if path.suffix == ".npy"}

    def entry(path: Path) -> dict:
        shards = {}
        if path.suffix == ".npy":
            array = arrays[path.stem]
            shards["shards"] = shard_checksums(path.stem, array, arrays["user_ptr"], manifest.shards)
        checksum = known_checksums.get(path.name) or files.sha256(path)
        return {"bytes": path.stat().st_size, "sha256": checksum, **shards}

    manifest.files = dict(zip((path.name for path in paths), in_threads(entry, paths)))
    (directory / MANIFEST).write_text(manifest.text() + "\n", encoding="utf-8")
    return manifest
