"""Checks the arrays of a prepared dataset, shard by shard, before anything is computed with them.

Kernels read memory at the rows and positions that these arrays hold: a wrong one would end the process, or go
unnoticed.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gnnrec.data.threads import in_threads
from gnnrec.errors import UserError

#: Types of the arrays.
DTYPES = {
    "user_ptr": np.dtype("int64"), "movie": np.dtype("int32"), "rating": np.dtype("float32"),
    "split": np.dtype("uint8"), "timestamp": np.dtype("int64"),
}  # fmt: skip
AGAIN = "run gnnrec prepare again"


def shard_checksums(name: str, array: np.ndarray, user_ptr: np.ndarray, shards: list[int]) -> list[int]:
    """CRC-32 of each shard's part of an array: its pointers, its users' features, or the column of its ratings.

    Arrays that are not in the order of users or ratings (features of movies) have one checksum.

    Args:
        name: Name of the array.
        array: ``[users + 1]`` for ``user_ptr``, ``[ratings]`` for the columns of ratings.
        user_ptr: Start of the ratings of each user.
        shards: Row boundaries.
    """
    if name in ("user_ptr", "user_features"):
        bounds = np.asarray(shards)
    else:
        bounds = np.asarray(user_ptr)[shards] if name in DTYPES else np.array([0, len(array)])
    return in_threads(part_checksum, [array[first:last] for first, last in zip(bounds, bounds[1:])])


def part_checksum(part: np.ndarray, before: int = 0) -> int:
    """CRC-32 of the bytes of an array in C order; ``before`` is that of the bytes before it."""
    return zlib.crc32(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data, before)


class PreparedArrays(Protocol):
    """Parts of a :class:`gnnrec.data.prepared.PreparedDataset`, which also has the arrays under their names."""

    manifest: Any

    def path(self, name: str) -> Path: ...
    @property
    def num_movies(self) -> int: ...
    @property
    def num_ratings(self) -> int: ...


class ShardChecks:
    """Checks of the shards of a dataset, each at the first time that it is read.

    Args:
        dataset: The dataset.
        num_splits: Number of splits: their values are below it.
    """

    def __init__(self, dataset: PreparedArrays, num_splits: int):
        self.dataset, self.num_splits = dataset, num_splits
        self._sound: set[int] = set()

    def check(self, first: int, end: int) -> None:
        """Checks all shards with users from row ``first`` to ``end - 1``.

        Raises:
            UserError: A value is out of bounds, or does not match its checksum.
        """
        shards = self.dataset.manifest.shards
        numbers = range(max(bisect_right(shards, first) - 1, 0), min(bisect_left(shards, end), len(shards) - 1))
        pending = [number for number in numbers if number not in self._sound]
        if not pending:
            return
        # Opened here: numpy.load must not run in two threads (findings/numpy_load_in_threads.py).
        names = [name for name in DTYPES if f"{name}.npy" in self.dataset.manifest.files]
        arrays = {name: getattr(self.dataset, name) for name in names}
        in_threads(lambda number: self._check(number, arrays), pending)
        self._sound.update(pending)

    def _check(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        dataset = self.dataset
        first, last = dataset.manifest.shards[number : number + 2]
        pointer = arrays["user_ptr"][first : last + 1]
        if (np.diff(pointer) < 0).any() or pointer[0] < 0 or pointer[-1] > dataset.num_ratings:
            raise self._damaged("user_ptr", number, f"do not rise from 0 to {dataset.num_ratings}")
        edges = slice(int(pointer[0]), int(pointer[-1]))
        parts = {"user_ptr": pointer[:-1]} | {
            name: array[edges] for name, array in arrays.items() if name != "user_ptr"
        }
        movie, rating, split = parts["movie"], parts["rating"], parts["split"]
        low, high = (np.float32(dataset.manifest.rating[name]) for name in ("min", "max"))
        if len(movie):
            if movie.min() < 0 or movie.max() >= dataset.num_movies:
                raise self._damaged("movie", number, f"are not all in 0 to {dataset.num_movies - 1}")
            if not (rating.min() >= low and rating.max() <= high):  # NaN is neither
                raise self._damaged("rating", number, f"are not all on the scale {low:g} to {high:g}")
            if split.max() >= self.num_splits:
                raise self._damaged("split", number, f"are not all in 0 to {self.num_splits - 1}")
        for name, part in parts.items():
            expected = dataset.manifest.files[f"{name}.npy"].get("shards")
            if expected is not None and part_checksum(part) != expected[number]:
                raise self._damaged(name, number, "do not match their checksum")

    def _damaged(self, name: str, number: int, problem: str) -> UserError:
        path = self.dataset.path(f"{name}.npy")
        return UserError(f"{path} is damaged: values of shard {number} {problem}: {AGAIN}")


def check_array(path: str, name: str, array: np.ndarray, length: int) -> None:
    """Raises a :class:`UserError` if an array has another type or length than it must have."""
    if (array.dtype, array.shape) != (DTYPES[name], (length,)):
        raise UserError(f"{path} holds {array.dtype} {list(array.shape)}, not {DTYPES[name]} {[length]}: {AGAIN}")


def whole_numbers(values: Iterable[object]) -> bool:
    """Returns whether all values are integers, not negative and no booleans."""
    return all(type(value) is int and value >= 0 for value in values)
