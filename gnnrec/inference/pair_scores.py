"""Scores of given pairs of user and movie, from the vectors of a run or an export."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from gnnrec.data.pairs import IdIndex, PairBlock, PairsFile
from gnnrec.errors import UserError
from gnnrec.inference.vector_source import VectorSource

#: Users without a pair that are read with others, because one range is read faster than two.
_GAP = 64
#: Pairs whose vectors are in memory at a time.
_PAIRS = 65536


@dataclasses.dataclass
class PairCounts:
    """Numbers of pairs.

    Attributes:
        pairs: All pairs.
        empty: Pairs without a score.
        unknown_user: Pairs whose user is unknown.
        unknown_movie: Pairs whose movie is unknown.
    """

    pairs: int = 0
    empty: int = 0
    unknown_user: int = 0
    unknown_movie: int = 0

    def add(self, user: np.ndarray, movie: np.ndarray) -> None:
        """Adds pairs by user and movie rows, -1 if unknown."""
        self.pairs += len(user)
        self.empty += int(((user < 0) | (movie < 0)).sum())
        self.unknown_user += int((user < 0).sum())
        self.unknown_movie += int((movie < 0).sum())

    def describe_empty(self) -> str:
        """Formats the pairs without a score; an empty text if there are none."""
        if not self.empty:
            return ""
        unknown = f"{self.unknown_user:,} with an unknown user, {self.unknown_movie:,} with an unknown movie"
        return f"{self.empty:,} of them empty ({unknown})"


class PairScores:
    """Scores pairs of raw ids.

    Args:
        source: The vectors.
        chunk: Users whose vectors are in memory at a time.

    Attributes:
        column: Name of the column of scores: ``prediction`` for ratings, which are clipped to the scale, or ``score``.
        counts: Numbers of the pairs so far.
    """

    def __init__(self, source: VectorSource, chunk: int) -> None:
        self.source, self.counts = source, PairCounts()
        self.column = "score" if source.scoring.scale is None else "prediction"
        self._chunk, self._scoring = chunk, source.scoring.own()
        self._columns = self._scoring.columns()
        self._users, self._movies = IdIndex(source.catalog.users), IdIndex(source.catalog.movies)

    def schema(self, pairs: PairsFile) -> pa.Schema:
        """Returns the columns of :meth:`tables`."""
        return pa.schema([*pairs.types.items(), (self.column, pa.float32())])

    def tables(self, pairs: PairsFile) -> Iterator[pa.Table]:
        """Yields ``user``, ``movie`` (raw ids) and the score, null for unknown ids, for blocks of pairs in order.

        Raises:
            UserError: All pairs have unknown ids; raised after the last block.
        """
        schema, examples = self.schema(pairs), {}
        for block in pairs.blocks():
            yield pa.table(block.ids | {self.column: self._scored(block)}, schema)
            examples = {role: column[0] for role, column in block.ids.items()}
        if self.counts.empty == self.counts.pairs:
            catalog = self.source.catalog
            raise UserError(
                f"{pairs.path}: no pair has a user and a movie of {catalog.place}, where ids look like "
                f"{catalog.users[0]} and {catalog.movies[0]}, not {examples['user']} and {examples['movie']}: use the "
                "ids that the model was trained on, or pass ratings of new users with --ratings"
            )

    def _scored(self, block: PairBlock) -> pa.Array:
        user, movie = self._users.rows(block.user), self._movies.rows(block.movie)
        self.counts.add(user, movie)
        known = (user >= 0) & (movie >= 0)
        scores = np.zeros(len(user), np.float32)
        scores[known] = self.scores(user[known], movie[known])
        return pa.array(scores, mask=~known)

    def scores(self, user: np.ndarray, movie: np.ndarray) -> np.ndarray:
        """Returns scores of pairs by user and movie rows, float32; ratings are clipped to the scale."""
        order = np.argsort(user, kind="stable")
        ordered = user[order]
        scores = np.empty(len(user), np.float32)
        for rows in _ranges(ordered, self._chunk):
            users = self.source.block(rows)
            factors = self._scoring.rows(users.vectors[:, : self._scoring.own_dim])
            first, last = np.searchsorted(ordered, (rows.start, rows.stop))
            for start in range(first, last, _PAIRS):
                pairs = order[start : min(start + _PAIRS, last)]
                own = user[pairs] - rows.start
                products = self._scoring.pair_scores(factors[own], self._columns, movie[pairs])
                scores[pairs] = self._scoring.complete(products, users.bias[own])
        return scores


def _ranges(ordered: np.ndarray, chunk: int) -> Iterator[range]:
    """Yields ranges of at most ``chunk`` rows that contain all of ``ordered``, ascending rows, and few others."""
    if not len(ordered):
        return
    for near in np.split(ordered, np.flatnonzero(np.diff(ordered) > _GAP) + 1):
        while len(near):
            rows = range(int(near[0]), int(min(near[0] + chunk, near[-1] + 1)))
            yield rows
            near = near[np.searchsorted(near, rows.stop) :]
