"""Movies for all users, exactly: every movie is scored for every user, on any number of ranks."""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from gnnrec.distributed.world import World
from gnnrec.inference.export_directory import ExportDirectory, parts_of
from gnnrec.inference.partitioned import write_shares
from gnnrec.inference.recommend_filters import allowed_movies, describe
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.inference.vector_source import UserBlock, VectorSource
from gnnrec.kernels.top import Columns

FOLDER = "recommendations"


class RecommendationDirectory(ExportDirectory):
    """Recommendations that may be unfinished: parts, and a manifest that comes last."""

    format: ClassVar[str] = "gnnrec-recommendations"
    holds: ClassVar[str] = "recommendations"
    folders: ClassVar[tuple[str, ...]] = (FOLDER,)


def write_recommendations(source: VectorSource, options: RecommendOptions, world: World) -> dict:
    """Writes ``recommendations/part-*.parquet`` and, when all of them are there, ``manifest.json``.

    Columns: ``user`` (raw id), ``rank`` (int32, from 1), ``movie`` (raw id), ``score`` (float32; of a rating model the
    predicted rating, clipped to the scale). Movies that a user has rated are left out; who has rated nearly everything
    has fewer rows.

    Args:
        source: Vectors.
        options: The options.
        world: The ranks; every rank calls this, on a file system that they share.

    Returns:
        The manifest.

    Raises:
        UserError: Bad input, or a place that cannot be written.
        Stopped: A rank was told to stop; the same call goes on.
    """
    started = time.perf_counter()
    best = BestMovies(source, allowed_movies(source.catalogue, options), options.top, world.device)
    directory = RecommendationDirectory(options.out)
    if world.run_on_rank0(lambda: _open(directory, source, options)):
        world.log(f"{options.out} is complete: nothing is left to do")
        return world.run_on_rank0(directory.manifest)
    parts = parts_of(FOLDER, source.num_users, options.part_rows)
    missing = world.run_on_rank0(lambda: [part for part in parts if not directory.has(part.name)])
    # Ranks take neighbouring parts: those of an export share files.
    share = [len(missing) * rank // world.size for rank in (world.rank, world.rank + 1)]
    write_shares(
        missing[share[0] : share[1]],
        lambda part: directory.write(part.name, partial(pq.write_table, best.table(part.rows))),
        "users",
        world,
        lambda part: len(part.rows),
    )
    about = {"top": options.top, "filters": describe(options), "users": source.num_users, "movies": best.count}
    about |= {"score": source.scoring.name, "source": source.identity}
    manifest = world.run_on_rank0(lambda: directory.finish([part.name for part in parts], about))
    seconds, users = time.perf_counter() - started, sum(len(part.rows) for part in missing)
    kept = f" ({len(parts) - len(missing)} of {len(parts)} parts were there)" if len(missing) < len(parts) else ""
    world.log(
        f"{options.out}: {options.top} of {best.count:,} movies for {source.num_users:,} users, {seconds:.1f} s, "
        f"{users / seconds:,.0f} users/s{kept}"
    )
    return manifest


def _open(directory: RecommendationDirectory, source: VectorSource, options: RecommendOptions) -> bool:
    identity = source.identity | {"top": options.top, "filters": describe(options), "part_rows": options.part_rows}
    return directory.open(identity, options.overwrite)


class BestMovies:
    """Best movies of ranges of users.

    Args:
        source: Vectors.
        allowed: Movies that may be recommended, bool ``[movies]``; None for all.
        top: Movies for a user.
        device: Where scores are computed.
    """

    def __init__(self, source: VectorSource, allowed: np.ndarray | None, top: int, device: torch.device):
        self.source, self.top, self.device = source, top, device
        movies = len(source.scoring.bias)
        self._rows = np.arange(movies) if allowed is None else np.flatnonzero(allowed)
        self._columns = None
        if allowed is not None:
            self._columns = np.full(movies, -1, np.int32)
            self._columns[self._rows] = np.arange(len(self._rows))
        self.count = len(self._rows)
        scoring = source.scoring
        vectors, bias = scoring.columns()[self._rows], scoring.bias[self._rows]
        self._movies = Columns(
            *(None if each is None else self._tensor(each) for each in (vectors, bias, scoring.weight))
        )

    def table(self, rows: range) -> pa.Table:
        """Columns ``user``, ``rank``, ``movie``, ``score`` of some users, by global rows."""
        users = self.source.block(rows)
        scores, movies = self._best(rows, users)
        user, place = np.nonzero(movies >= 0)
        shown = self.source.scoring.shown(scores[user, place], users.bias[user])
        return pa.table(
            {
                "user": users.ids.take(pa.array(user)),
                "rank": pa.array((place + 1).astype(np.int32)),
                "movie": self.source.catalogue.movies.take(pa.array(movies[user, place])),
                "score": pa.array(shown),
            }
        )

    def best(self, rows: range) -> tuple[np.ndarray, np.ndarray]:
        """Scores, but for what does not tell movies apart, and rows of movies: ``[users, top]``, -1 for none."""
        return self._best(rows, self.source.block(rows))

    def _best(self, rows: range, users: UserBlock) -> tuple[np.ndarray, np.ndarray]:
        found = self._movies.best(self._tensor(self.source.scoring.rows(users.vectors)), *self._rated(rows), self.top)
        scores, columns = (each.cpu().numpy() for each in found)
        return scores, np.where(columns >= 0, self._rows[columns], -1)

    def _rated(self, rows: range) -> tuple[torch.Tensor, torch.Tensor]:
        """What each user has rated among the movies that count: pointers and columns."""
        ratings = self.source.catalogue.ratings
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
