"""Recommendations for all users: every movie is scored for every user, on any number of ranks."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gnnrec.distributed.world import World
from gnnrec.inference.export_directory import MANIFEST, ExportDirectory, split_into_parts
from gnnrec.inference.list_order import ListOrder, list_order
from gnnrec.inference.new_share import Lists, join_lists, new_places, split_by_news
from gnnrec.inference.outputs import output_directory
from gnnrec.inference.partitioned import write_partitioned
from gnnrec.inference.recommend_filters import allowed_movies, describe
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import UserBlock, VectorSource
from gnnrec.kernels.top import ColumnScorer

FOLDER = "recommendations"


class RecommendationDirectory(ExportDirectory):
    """Directory of recommendations: parts, and a manifest that is written last."""

    format: ClassVar[str] = "gnnrec-recommendations"
    holds: ClassVar[str] = "recommendations"
    folders: ClassVar[tuple[str, ...]] = (FOLDER,)


def write_recommendations(source: VectorSource, options: RecommendOptions, world: World) -> dict:
    """Writes recommendations to a directory, or to an address (:mod:`gnnrec.inference.outputs`).

    Arguments, result and errors are those of :func:`write_files`.
    """
    assert options.out is not None  # RecommendOptions.check
    with output_directory(options.out, MANIFEST, options.overwrite, world) as out:
        return write_files(source, dataclasses.replace(options, out=out), world)


def write_files(source: VectorSource, options: RecommendOptions, world: World) -> dict:
    """Writes ``recommendations/part-*.parquet`` and, once these are complete, ``manifest.json``.

    Columns: ``user`` (raw id), ``rank`` (int32, from 1), ``movie`` (raw id), ``score`` (float32) and, in the order of
    interest or both, ``rating`` (float32, the predicted rating, clipped to the scale). In the order of ratings these
    are the scores. Movies that a user has rated are left out, so users who have rated nearly all have fewer rows.

    Args:
        source: The vectors.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The manifest.

    Raises:
        UserError: Bad input, or a directory that cannot be written.
        Stopped: A rank was asked to stop; the same call resumes.
    """
    started = time.perf_counter()
    order = list_order(source.scoring, options.order_by)
    best = BestLists(source, options, world.device, order)
    directory = RecommendationDirectory(options.out)
    if world.run_on_rank0(lambda: _open(directory, source, options)):
        world.log(f"{options.out} is already complete")
        return world.run_on_rank0(directory.manifest)
    parts = split_into_parts(FOLDER, source.num_users, options.part_rows)
    missing = world.run_on_rank0(lambda: [part for part in parts if not directory.has(part.name)])
    # A rank takes consecutive parts: they share files of an export.
    share = [len(missing) * rank // world.size for rank in (world.rank, world.rank + 1)]
    write_partitioned(
        missing[share[0] : share[1]],
        lambda part: directory.write(part.name, partial(pq.write_table, best.table(part.rows))),
        "users",
        world,
        lambda part: len(part.rows),
    )
    facts = {"top": options.top, "filters": describe(options), "users": source.num_users, "movies": best.count}
    facts |= {"score": order.name, "source": source.identity}
    manifest = world.run_on_rank0(lambda: directory.finish([part.name for part in parts], facts))
    seconds, users = time.perf_counter() - started, sum(len(part.rows) for part in missing)
    reused = len(parts) - len(missing)
    kept = f" ({reused} of {len(parts)} parts were already written)" if reused else ""
    world.log(
        f"{options.out}: {options.top} of {best.count:,} movies for {source.num_users:,} users, {seconds:.1f} s, "
        f"{users / seconds:,.0f} users/s{kept}"
    )
    return manifest


def _open(directory: RecommendationDirectory, source: VectorSource, options: RecommendOptions) -> bool:
    identity = source.identity | {"top": options.top, "filters": describe(options), "part_rows": options.part_rows}
    identity |= {"order_by": list_order(source.scoring, options.order_by).name}
    return directory.open(identity, options.overwrite)


class BestLists:
    """Finds the lists of ranges of users.

    Args:
        source: The vectors.
        options: ``top``, filters and the share of new movies.
        device: Device that computes scores.
        order: Order of the movies.

    Attributes:
        count: Movies that may be recommended.
    """

    def __init__(self, source: VectorSource, options: RecommendOptions, device: torch.device, order: ListOrder):
        self.source, self._top, self._order, self._new = source, options.top, order, None
        known, places = allowed_movies(source, options), new_places(options.new_share, options.top)
        self.count = len(source.scoring.bias) if known is None else int(known.sum())
        if places is not None:
            known, new = split_by_news(known, source.cold)
            self._new = BestMovies(source, new, places, device, order) if places and new.any() else None
        self._known = BestMovies(source, known, options.top, device, order)

    def table(self, rows: range) -> pa.Table:
        """Returns ``user``, ``rank``, ``movie``, ``score`` and maybe ``rating`` for users by global rows."""
        users = self.source.block(rows)
        scores, movies, ratings = self._known.lists(rows, users)
        if self._new is not None:
            known = scores, movies, ratings
            scores, movies, ratings = join_lists(known, self._new.lists(rows, users), self._top)
        user, position = np.nonzero(movies >= 0)
        columns = {
            "user": users.ids.take(pa.array(user)),
            "rank": pa.array((position + 1).astype(np.int32)),
            "movie": self.source.catalog.movies.take(pa.array(movies[user, position])),
            "score": pa.array(scores[user, position]),
        }
        if ratings is not None:
            columns["rating"] = pa.array(ratings[user, position])
        return pa.table(columns)


class BestMovies:
    """Finds the best movies for ranges of users.

    Args:
        source: The vectors.
        allowed: Movies that may be recommended, bool ``[movies]``; None for all.
        top: Movies for a user.
        device: Device that computes scores.
        order: Order of the movies.
    """

    def __init__(
        self, source: VectorSource, allowed: np.ndarray | None, top: int, device: torch.device, order: ListOrder
    ):
        self.source, self.top, self.device, self.order = source, top, device, order
        movies = len(source.scoring.bias)
        self._rows = np.arange(movies) if allowed is None else np.flatnonzero(allowed)
        self._columns = None
        if allowed is not None:
            self._columns = np.full(movies, -1, np.int32)
            self._columns[self._rows] = np.arange(len(self._rows))
        scoring = order.first
        vectors, bias = scoring.columns()[self._rows], scoring.bias[self._rows]
        self._movies = ColumnScorer(
            *(None if array is None else self._tensor(array) for array in (vectors, bias, scoring.weight))
        )

    def lists(self, rows: range, users: UserBlock) -> Lists:
        """Returns complete scores, movie rows, -1 for none, and predicted ratings or None: ``[users, found]``."""
        return self.order.lists(users, *self._best(rows, users), self.top)

    def best(self, rows: range) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first scores, without offset and user bias, and movie rows, -1 for none: ``[users, found]``."""
        return self._best(rows, self.source.block(rows))

    def _best(self, rows: range, users: UserBlock) -> tuple[np.ndarray, np.ndarray]:
        factors = self._tensor(self.order.first.rows(users.vectors[:, self.order.columns]))
        best = self._movies.best(factors, *self._rated(rows), self.order.wanted(self.top))
        scores, columns = (tensor.cpu().numpy() for tensor in best)
        return scores, np.where(columns >= 0, self._rows[columns], -1)

    def _rated(self, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the rated movies among the allowed ones as CSR pointers and columns."""
        ratings = self.source.catalog.ratings
        pointer = np.array(ratings.user_ptr[rows.start : rows.stop + 1])
        rated = np.array(ratings.movie[pointer[0] : pointer[-1]])
        pointer -= pointer[0]
        if self._columns is not None:
            rated = self._columns[rated]
            pointer = np.append(0, np.cumsum(rated >= 0))[pointer]
            rated = rated[rated >= 0]
        return self._tensor(pointer), self._tensor(rated)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
