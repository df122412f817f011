"""Merges new ratings into the arrays of a prepared dataset, block by block, and removes those of users."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gnnrec.data.blocks import user_blocks
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.shard_check import DTYPES, part_checksum
from gnnrec.data.threads import in_threads

#: Ratings that are merged at a time in a thread.
_BLOCK = 1 << 20
#: Columns of ratings whose values do not depend on other ratings.
COLUMNS = ("movie", "rating", "timestamp")


@dataclasses.dataclass
class RatingChanges:
    """Changes of the ratings of a dataset.

    Attributes:
        user: New row of the user of each inserted rating, int64 ``[inserted]``, ascending.
        position: Rating of the dataset before which each one is inserted, int64 ``[inserted]``, ascending.
        inserted: Column -> values, ``[inserted]``; columns that are missing get zeros.
        replaced: Ratings of the dataset with new values, int64 ``[replaced]``, ascending.
        values: Column -> new values, ``[replaced]``; columns that are missing keep their values.
        kept_users: Row before the change of each user that stays, int64, ascending; None if all of them do. Users are
            removed, or ratings are inserted and replaced, not both.
        num_users: Users after the change.
    """

    user: np.ndarray
    position: np.ndarray
    inserted: dict[str, np.ndarray]
    replaced: np.ndarray
    values: dict[str, np.ndarray]
    kept_users: np.ndarray | None
    num_users: int


def merged_pointers(user_ptr: np.ndarray, changes: RatingChanges) -> np.ndarray:
    """Start of the ratings of each user after changes, int64 ``[users + 1]``."""
    degree = np.diff(user_ptr)
    if changes.kept_users is not None:
        degree = degree[changes.kept_users]
    ratings = np.bincount(changes.user, minlength=changes.num_users)
    ratings[: len(degree)] += degree
    return np.concatenate([[0], np.cumsum(ratings)])


def write_merged(
    dataset: PreparedDataset, changes: RatingChanges, user_ptr: np.ndarray, shards: list[int], directory: Path
) -> dict[str, list[int]]:
    """Writes the columns of ratings after changes; memory is that of a few blocks.

    Args:
        dataset: The dataset before.
        changes: The changes.
        user_ptr: Start of the ratings of each user after the changes.
        shards: Row boundaries after the changes.
        directory: Where ``movie.npy`` and others are written.

    Returns:
        Column -> CRC-32 of each shard, but for ``split``.
    """
    names = [name for name in (*COLUMNS, "split") if f"{name}.npy" in dataset.manifest.files]
    columns = {name: getattr(dataset, name) for name in names}  # numpy.load must not run in two threads
    before = np.asarray(dataset.user_ptr)
    opened = {name: open(directory / f"{name}.npy", "wb") for name in names}
    try:
        starts = {name: write_header(file, name, int(user_ptr[-1])) for name, file in opened.items()}

        def merge_shard(shard: tuple[int, int]) -> dict[str, int]:
            first, end = shard
            crc = dict.fromkeys(names, 0)
            for start, stop in user_blocks(user_ptr[first : end + 1], _BLOCK):
                merger = _Block(changes, before, first + start, first + stop)
                for name in names:
                    merged = merger.merge(name, columns[name])
                    offset = starts[name] + int(user_ptr[first + start]) * merged.itemsize
                    write_at(opened[name], offset, merged)
                    crc[name] = part_checksum(merged, crc[name])
            return crc

        checksums = in_threads(merge_shard, list(zip(shards, shards[1:])))
    finally:
        for file in opened.values():
            file.close()
    return {name: [crc[name] for crc in checksums] for name in names if name != "split"}


class _Block:
    """Merges the ratings of users from row ``first`` to ``end - 1`` after the change."""

    def __init__(self, changes: RatingChanges, before: np.ndarray, first: int, end: int):
        self.changes, kept, users = changes, changes.kept_users, len(before) - 1
        self.kept_edges: np.ndarray | None = None
        if kept is None:
            old_first, old_end = min(first, users), min(end, users)
        else:
            old_first, old_end = int(kept[first]), int(kept[end - 1]) + 1
            if old_end - old_first > end - first:
                is_kept = np.zeros(old_end - old_first, bool)
                is_kept[kept[first:end] - old_first] = True
                self.kept_edges = np.repeat(is_kept, np.diff(before[old_first : old_end + 1]))
        self.edges = slice(int(before[old_first]), int(before[old_end]))
        self.inserted = slice(*np.searchsorted(changes.user, [first, end]).tolist())
        self.replaced = slice(*np.searchsorted(changes.replaced, [self.edges.start, self.edges.stop]).tolist())

    def merge(self, name: str, column: np.ndarray) -> np.ndarray:
        """Returns the values of a column after the change."""
        changes, old = self.changes, column[self.edges]
        if name in changes.values and self.replaced.stop > self.replaced.start:
            old = np.array(old)
            old[changes.replaced[self.replaced] - self.edges.start] = changes.values[name][self.replaced]
        if self.kept_edges is not None:
            old = old[self.kept_edges]
        count = self.inserted.stop - self.inserted.start
        if not count:
            return np.asarray(old)
        places = changes.position[self.inserted] - self.edges.start + np.arange(count)
        merged = np.empty(len(old) + count, old.dtype)
        is_old = np.ones(len(merged), bool)
        is_old[places] = False
        merged[is_old] = old
        merged[places] = changes.inserted[name][self.inserted] if name in changes.inserted else 0
        return merged


def write_header(file: BinaryIO, name: str, length: int) -> int:
    """Writes the header that ``numpy.save`` writes; returns its size."""
    kind: np.dtype[Any] = np.dtype(DTYPES[name])  # type: ignore[call-overload]
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)
    file.flush()
    return file.tell()


def write_at(file: Any, offset: int, array: np.ndarray) -> None:
    """Writes an array at an offset; threads may write to one file."""
    data = np.ascontiguousarray(array).view(np.uint8).data
    while len(data):
        written = os.pwrite(file.fileno(), data, offset)
        data, offset = data[written:], offset + written


def find_ratings(dataset: PreparedDataset, user: np.ndarray, movie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds pairs of user and movie among the ratings of a dataset.

    Args:
        dataset: The dataset, whose ratings have been checked.
        user: Rows of users, int64 ``[pairs]``; those after the last one have no ratings.
        movie: Rows of movies, int64 ``[pairs]``.

    Returns:
        The first rating of each user with the same movie or a later one, int64 ``[pairs]``, and whether it is of that
        movie, bool ``[pairs]``.
    """
    user_ptr, movies = np.asarray(dataset.user_ptr), dataset.movie
    first = user_ptr[np.minimum(user, dataset.num_users)]
    end = stop = user_ptr[np.minimum(user + 1, dataset.num_users)]
    while (open_ := first < end).any():  # a binary search for all pairs at once
        middle = (first + end) // 2
        below = np.zeros(len(user), bool)
        below[open_] = movies[middle[open_]] < movie[open_]
        first, end = np.where(below, middle + 1, first), np.where(open_ & ~below, middle, end)
    is_same = first < stop
    is_same[is_same] = movies[first[is_same]] == movie[is_same]
    return first, is_same
