"""The second task: a bucket of users, from all pieces, sorted and split as the prepared dataset has it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from gnnrec.data import edges, ids, manifest_builder, order, rating_scale, split, split_ranking
from gnnrec.data.blocks import look_up
from gnnrec.data.out_of_core.arrow_files import read_arrow, write_arrow
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.movie_index import movie_rows, raw_ids, read_movie_index
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, part_path
from gnnrec.data.prepared import SPLIT_NAMES
from gnnrec.data.split_input import SplitInput

#: More distinct ratings than a rating scale has levels of its own.
_MANY = rating_scale.MAX_LEVELS + 1


@dataclasses.dataclass(frozen=True)
class SortedBucket:
    """What a bucket holds.

    Attributes:
        number: Its number.
        users: Users.
        ratings: Ratings kept.
        dropped: Duplicates dropped.
        distinct: Its distinct ratings, or the first of them where there are more than a scale has levels.
        split_counts: Ratings of each split; empty while the split waits for other buckets.
    """

    number: int
    users: int
    ratings: int
    dropped: int
    distinct: list[float]
    split_counts: list[int]


def array_path(job: PrepareJob, bucket: int, name: str) -> Path:
    """The bucket's part of an array of the prepared dataset, without a header; ``degree`` stands for ``user_ptr``."""
    return job.scratch / f"{_name(bucket)}.{name}"


def users_path(job: PrepareJob, bucket: int) -> Path:
    """Raw ids of the bucket's users in row order, an Arrow file."""
    return job.scratch / f"{_name(bucket)}-users.arrow"


def sort_bucket(job: PrepareJob, pieces: list[PartitionedSplit], bucket: int) -> SortedBucket:
    """Sorts a bucket, splits it where the protocol looks at one user at a time, and writes its part of the arrays.

    Raises:
        UserError: The split needs what the data lacks.
    """
    if (done := job.read_marker(_name(bucket))) is not None:
        return SortedBucket(**done)
    columns = _read(job, pieces, bucket)
    if not len(columns["rating"]):
        return _done(job, SortedBucket(bucket, 0, 0, 0, [], [0] * len(SPLIT_NAMES)))
    user, movie = (ids.encode(columns.pop(role), role in job.text_ids) for role in ("user", "movie"))
    catalogue = read_movie_index(job)
    movie_row = look_up(movie_rows(catalogue).loc[movie.raw].to_numpy(), movie.codes)
    user_hash = ids.stable_hash(user.raw)
    row_user = order.balanced_order(user_hash, job.options.seed)
    user_row = look_up(ids.inverse(row_user), user.codes)
    raw_users = user.raw[row_user]
    del user, movie
    timestamp = columns.pop("timestamp").cast(pa.int64()).to_numpy() if "timestamp" in columns else None
    kept, dropped = edges.sort_edges(user_row, movie_row, timestamp)
    user_ptr = edges.row_pointers(user_row[kept], len(raw_users))
    del user_row
    arrays = {"movie": movie_row[kept], "rating": columns.pop("rating").to_numpy()[kept]}
    if timestamp is not None:
        arrays["timestamp"] = timestamp[kept]
    del kept, movie_row, timestamp
    counts: list[int] = []
    if job.options.protocol != "strong":
        data = _split_input(job, user_ptr, arrays, user_hash[row_user], ids.stable_hash(catalogue))
        counts = _write_split(job, bucket, split.PROTOCOLS[job.options.protocol](data))
    for name, array in (arrays | {"degree": np.diff(user_ptr)}).items():
        array.tofile(array_path(job, bucket, name))
    write_arrow(users_path(job, bucket), pa.table({"user": raw_users}))
    distinct = np.unique(arrays["rating"])[:_MANY].tolist()
    return _done(job, SortedBucket(bucket, len(raw_users), len(arrays["movie"]), dropped, distinct, counts))


def trained_movies(job: PrepareJob, bucket: int) -> list[int]:
    """Movies that train users of the bucket find relevant (protocol ``strong``), rows."""
    name = f"{_name(bucket)}-trained"
    if (done := job.read_marker(name)) is not None:
        return done
    data = _gathered_input(job, bucket)
    found = [] if data is None else np.flatnonzero(split_ranking.trained_movies(data)).tolist()
    return job.leave_marker(name, found)


def split_strong(job: PrepareJob, trained: list[int], bucket: int) -> list[int]:
    """Splits a gathered bucket by the protocol ``strong``, and returns the ratings of each split.

    Args:
        job: The job.
        trained: Movies that any train user finds relevant, rows.
        bucket: The bucket.
    """
    name = f"{_name(bucket)}-split"
    if (done := job.read_marker(name)) is not None:
        return done
    data, counts = _gathered_input(job, bucket), [0] * len(SPLIT_NAMES)
    if data is not None:
        data.trained = np.zeros(len(data.movie_hash), bool)
        data.trained[trained] = True
        counts = _write_split(job, bucket, split_ranking.strong(data))
    return job.leave_marker(name, counts)


def _read(job: PrepareJob, pieces: list[PartitionedSplit], bucket: int) -> dict[str, pa.ChunkedArray]:
    """The rows of a bucket in the order of the input."""
    tables = []
    for piece in pieces:
        for part in range(piece.parts):
            with pa.OSFile(str(part_path(job, piece.number, part))) as file:
                tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(bucket)]))
    table = pa.concat_tables(tables, promote_options="permissive")  # integers of some parts are narrower
    return dict(zip(table.column_names, table.columns))


def _split_input(
    job: PrepareJob,
    user_ptr: np.ndarray,
    arrays: dict[str, np.ndarray],
    user_hash: torch.Tensor,
    movie_hash: torch.Tensor,
) -> SplitInput:
    return SplitInput(
        user_ptr=user_ptr,
        movie=arrays["movie"],
        rating=arrays["rating"],
        timestamp=arrays.get("timestamp"),
        user_hash=user_hash,
        movie_hash=movie_hash,
        **manifest_builder.split_options(job.options),
    )


def _gathered_input(job: PrepareJob, bucket: int) -> SplitInput | None:
    """What the split may look at, from the bucket's files; None of an empty bucket."""
    if not users_path(job, bucket).exists():
        return None
    degree = np.fromfile(array_path(job, bucket, "degree"), np.int64)
    arrays = {
        "movie": np.fromfile(array_path(job, bucket, "movie"), np.int32),
        "rating": np.fromfile(array_path(job, bucket, "rating"), np.float32),
    }
    users = ids.stable_hash(raw_ids(read_arrow(users_path(job, bucket))["user"]))
    movies = ids.stable_hash(read_movie_index(job))
    return _split_input(job, np.concatenate([[0], np.cumsum(degree)]), arrays, users, movies)


def _write_split(job: PrepareJob, bucket: int, found: np.ndarray) -> list[int]:
    found.tofile(array_path(job, bucket, "split"))
    return np.bincount(found, minlength=len(SPLIT_NAMES)).tolist()


def _done(job: PrepareJob, found: SortedBucket) -> SortedBucket:
    job.leave_marker(_name(found.number), dataclasses.asdict(found))
    return found


def _name(bucket: int) -> str:
    return f"bucket-{bucket:06d}"
