"""Compiles loops for the CPU, and keeps what is compiled beside the source for later processes.

numba numbers the files of a function's versions, and keeps which number belongs to which argument types in one more
file. Two processes that compile at the same time, such as the ranks of a job, can take the same number: the later one
then runs a kernel for other types than its arguments'. Here the name of a file follows from what it was compiled for.
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
    """One file a version of a function, named after a digest of all that it depends on; there is no index.

    Args:
        cache_path: The directory.
        filename_base: What the names of the files begin with.
        source_stamp: Time and size of the source file.
    """

    def save(self, key: tuple, data: Any) -> None:
        """Writes a version aside and renames it; of two processes the later one writes the same again.

        Where there is no room, the next process compiles it again.
        """
        with contextlib.suppress(OSError):
            self._save_data(self._name(key), data)

    def load(self, key: tuple) -> Any | None:
        """The version of a key; None where nothing was kept."""
        try:
            return self._load_data(self._name(key))
        except OSError:
            return None

    def flush(self) -> None:
        """Nothing to forget: a version of another source has another name."""

    def _name(self, key: tuple) -> str:
        parts = repr((self._version, self._source_stamp, key))
        return self._data_name(hashlib.sha256(parts.encode()).hexdigest()[:32])

    def _data_name(self, number: int | str) -> str:
        return self._index_name.removesuffix(".nbi") + f".{number}.nbc"


def compiled(function: Callable, fastmath: bool = True) -> Callable:
    """A decorator: the function as compiled code that releases the interpreter while it runs.

    Args:
        function: The function.
        fastmath: Sums may be reassociated, and no value is infinite or not a number.
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
