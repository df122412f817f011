"""Splits of a dataset whose ratings have changed: those that a fresh preparation of all ratings would give.

Every protocol is a function of raw ids, times and ratings, so only ratings that it may put elsewhere are split again:
new and changed ones (``random``, ``cold-movies``, ``cold-users``, a split that is given), all of their users
(``temporal``, ``leave-last``), or all (``strong``, ``global-time``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.data import ids, split, split_ranking, split_time
from gnnrec.data.blocks import user_blocks
from gnnrec.data.features.job import raw_ids
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, Manifest
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.shard_check import part_checksum
from gnnrec.data.split_input import SplitInput
from gnnrec.data.threads import in_threads

#: Protocols that look at all ratings of a user.
_BY_USER = ("temporal", "leave-last")
#: Ratings that are split at a time.
_BLOCK = 1 << 22


def protocol_of(manifest: Manifest) -> str:
    """Name of the protocol (:data:`gnnrec.data.split.PROTOCOLS`), or ``given``."""
    return manifest.split["protocol"] if "test" in manifest.split else "given"


@dataclasses.dataclass
class Resplit:
    """Splits changed ratings.

    Args:
        manifest: The manifest, with protocol and options.
        directory: Directory of the changed columns, ``movie.npy`` and others.
        user_ptr: Start of the ratings of each user after the change.
        users: Table of users after the change.
        movies: Table of movies.
    """

    manifest: Manifest
    directory: Path
    user_ptr: np.ndarray
    users: Path
    movies: Path

    def __post_init__(self) -> None:
        names = [name for name in ("movie", "rating", "timestamp") if (self.directory / f"{name}.npy").exists()]
        self.columns = {name: np.load(self.directory / f"{name}.npy", mmap_mode="r") for name in names}
        self.user_hash = _hashes(self.users, "user")
        self.movie_hash = _hashes(self.movies, "movie")

    def write(self, changed: np.ndarray, given: np.ndarray | None) -> None:
        """Writes the splits that may have changed to ``split.npy``.

        Args:
            changed: Inserted ratings and those with new values: positions after the change, int64, ascending.
            given: Their splits, if the split is given.
        """
        protocol = protocol_of(self.manifest)
        splits = np.load(self.directory / "split.npy", mmap_mode="r+")
        if protocol in split.WHOLE:
            known = self._known_of_all(protocol)
            for first, end in user_blocks(self.user_ptr, _BLOCK):
                rows = np.arange(first, end)
                edges = np.arange(self.user_ptr[first], self.user_ptr[end])
                splits[edges[0] : edges[-1] + 1] = split.assign(protocol, self._input(rows, edges, **known))
        elif protocol in _BY_USER:
            touched = np.unique(self._users_of(changed))
            degree = np.diff(self.user_ptr)[touched]
            for first, end in user_blocks(np.concatenate([[0], np.cumsum(degree)]), _BLOCK):
                edges = _ranges(self.user_ptr[touched[first:end]], degree[first:end])
                splits[edges] = split.assign(protocol, self._input(touched[first:end], edges))
        elif len(changed):
            splits[changed] = split.assign(protocol, self._input(self._users_of(changed), changed, given=given))
        splits.flush()

    def count(self, shards: list[int]) -> tuple[list[int], np.ndarray, RatingCounts]:
        """CRC-32 of the splits of each shard, ratings of each split, and the train ratings."""
        splits, rating, low = np.load(self.directory / "split.npy", mmap_mode="r"), self.columns["rating"], None
        low = self.manifest.rating["min"]

        def count_shard(shard: tuple[int, int]) -> tuple[int, np.ndarray, list[RatingCounts]]:
            crc, numbers, train = 0, np.zeros(len(SPLIT_NAMES), np.int64), []
            for first, end in user_blocks(self.user_ptr[shard[0] : shard[1] + 1], _BLOCK):
                edges = slice(*self.user_ptr[[shard[0] + first, shard[0] + end]].tolist())
                part = np.asarray(splits[edges])
                crc = part_checksum(part, crc)
                numbers += np.bincount(part, minlength=len(SPLIT_NAMES))
                train.append(RatingCounts.of(np.asarray(rating[edges])[part == TRAIN], low))
            return crc, numbers, train

        counted = in_threads(count_shard, list(zip(shards, shards[1:])))
        train = RatingCounts.merge([part for _, _, parts in counted for part in parts], low)
        return [crc for crc, _, _ in counted], sum(numbers for _, numbers, _ in counted), train  # type: ignore[return-value]

    def _users_of(self, edges: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.user_ptr, edges, side="right") - 1

    def _known_of_all(self, protocol: str) -> dict[str, Any]:
        """Computes what ``strong`` and ``global-time`` know of all ratings."""
        if protocol == "strong":
            trained = np.zeros(len(self.movie_hash), bool)
            for data in self._all_inputs():
                trained |= split_ranking.trained_movies(data)
            return {"trained": trained}
        options = self.manifest.split
        counts = split_time.merge(split_time.count_bins(part) for part in self._times())
        cuts = split_time.find_cuts(
            counts,
            lambda bin_: split_time.merge(split_time.count_in_bin(part, bin_) for part in self._times()),
            options["test"],
            options["validation"],
        )
        return {"cuts": cuts}

    def _all_inputs(self) -> Iterator[SplitInput]:
        for first, end in user_blocks(self.user_ptr, _BLOCK):
            yield self._input(np.arange(first, end), np.arange(self.user_ptr[first], self.user_ptr[end]))

    def _times(self) -> Iterator[np.ndarray]:
        for first in range(0, int(self.user_ptr[-1]), _BLOCK):
            yield np.asarray(self.columns["timestamp"][first : first + _BLOCK])

    def _input(self, users: np.ndarray, edges: np.ndarray, **known: Any) -> SplitInput:
        """Input of the protocol: some ratings, and the users who have them.

        Args:
            users: Rows of users, ascending: distinct ones who have all their ratings, or one for each rating.
            edges: Positions of ratings, ascending.
            known: Further fields.
        """
        owners = self._users_of(edges)
        rows = np.unique(users)
        options = self.manifest.split
        chosen = {name: options[name] for name in ("relevant", "least_relevant", "held_out") if name in options}
        columns = {name: column[edges] for name, column in self.columns.items()}
        return SplitInput(
            user_ptr=np.searchsorted(owners, np.append(rows, len(self.user_hash))),
            movie=columns["movie"],
            rating=columns["rating"],
            timestamp=columns.get("timestamp"),
            user_hash=self.user_hash[rows],
            movie_hash=self.movie_hash,
            test=options.get("test", 0.0),
            validation=options["validation"],
            seed=options["seed"],
            **chosen,
            **known,
        )


def _hashes(path: Path, name: str) -> np.ndarray:
    """Hashes of the raw ids of a table, int64 ``[rows]``."""
    raw = raw_ids(path, name).to_numpy()
    return ids.stable_hash(raw.astype(np.int64 if raw.dtype.kind in "iu" else object))


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenates ``arange(start, start + count)``, int64."""
    ends = np.cumsum(counts)
    return np.repeat(starts - (ends - counts), counts) + np.arange(ends[-1])
