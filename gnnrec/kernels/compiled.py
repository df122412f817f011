"""Compiles loops for the CPU with numba, with a cache on disk that concurrent processes can share.

numba numbers the cache files of a function's versions, and an index file maps argument types to numbers. Two processes
that compile at the same time, such as the ranks of a job, can use the same number, and a process then runs a kernel for
other types than those of its arguments. Here the file name is a digest of the argument types and the source.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile

#: Sums may be reassociated within a row, never across threads.
OPTIONS = {"nogil": True, "fastmath": True, "error_model": "numpy", "cache": True}


class KernelFiles(IndexDataCacheFile):
    """Cache with one file per version of a function, named by a digest of its inputs, without an index.

    Args:
        cache_path: The directory.
        filename_base: Prefix of the file names.
        source_stamp: Modification time and size of the source file.
    """

    def save(self, key: tuple, data: Any) -> None:
        """Writes a version atomically; if two processes do, both write the same.

        If the disk is full, the next process compiles the version again.
        """
        with contextlib.suppress(OSError):
            self._save_data(self._name(key), data)

    def load(self, key: tuple) -> Any | None:
        """Loads the version of a key; None if it is not cached."""
        try:
            return self._load_data(self._name(key))
        except OSError:
            return None

    def flush(self) -> None:
        """Does nothing: versions of another source have other file names."""

    def _name(self, key: tuple) -> str:
        parts = repr((self._version, self._source_stamp, key))
        return self._data_name(hashlib.sha256(parts.encode()).hexdigest()[:32])

    def _data_name(self, number: int | str) -> str:
        return self._index_name.removesuffix(".nbi") + f".{number}.nbc"


def compiled(function: Callable, fastmath: bool = True) -> Callable:
    """Decorator that compiles a function, which then releases the GIL while it runs.

    Args:
        function: The function.
        fastmath: Sums may be reassociated, and no value is infinite or NaN.
    """
    dispatcher = numba.njit(**OPTIONS | {"fastmath": fastmath})(function)
    cache = dispatcher._cache
    if cache.cache_path is not None:
        implementation = cache._impl
        cache._cache_file = KernelFiles(
            cache_path=cache.cache_path,
            filename_base=implementation.filename_base,
            source_stamp=implementation.locator.get_source_stamp(),
        )
    return dispatcher
