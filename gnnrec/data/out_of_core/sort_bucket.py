"""Second task: collects a bucket of users from all input splits, sorts it and applies the split protocol."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from gnnrec.data import edges, ids, manifest_builder, order, split, split_ranking, split_time
from gnnrec.data.blocks import look_up
from gnnrec.data.out_of_core.arrow_files import read_arrow, write_arrow
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.movie_index import movie_rows, raw_ids, read_movie_index
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, part_path
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.split_input import SplitInput
from gnnrec.data.split_time import Counts


@dataclasses.dataclass(frozen=True)
class BucketSplit:
    """The splits of the ratings of a bucket.

    Attributes:
        counts: Number of ratings per split.
        ratings: Kinds of train ratings (:class:`gnnrec.data.rating_counts.RatingCounts`).
        rating_counts: How many there are of each kind.
    """

    counts: list[int] = dataclasses.field(default_factory=lambda: [0] * len(SPLIT_NAMES))
    ratings: list[float] = dataclasses.field(default_factory=list)
    rating_counts: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class SortedBucket:
    """Counts of a sorted bucket.

    Attributes:
        number: Index of the bucket.
        users: Number of users.
        ratings: Number of ratings kept.
        dropped: Number of duplicates dropped.
        most: Largest rating.
        split: Splits of the ratings; None while the protocol waits for other buckets.
    """

    number: int
    users: int
    ratings: int
    dropped: int
    most: float
    split: BucketSplit | None


def array_path(job: PrepareJob, bucket: int, name: str) -> Path:
    """File with the bucket's part of an array, without a header; ``degree`` replaces ``user_ptr``."""
    return job.scratch / f"{_task_name(bucket)}.{name}"


def users_path(job: PrepareJob, bucket: int) -> Path:
    """Arrow file with the raw ids of the bucket's users in row order."""
    return job.scratch / f"{_task_name(bucket)}-users.arrow"


def sort_bucket(job: PrepareJob, partitioned: list[PartitionedSplit], low: float, bucket: int) -> SortedBucket:
    """Sorts a bucket, applies the split protocol unless it waits for all buckets, and writes its part of the arrays.

    Args:
        job: The job.
        partitioned: All input splits.
        low: Lowest possible rating.
        bucket: Index of the bucket.

    Raises:
        UserError: The protocol needs timestamps that the data lacks.
    """
    if (done := job.read_marker(_task_name(bucket))) is not None:
        return SortedBucket(**done | {"split": done["split"] and BucketSplit(**done["split"])})
    columns = _read(job, partitioned, bucket)
    if not len(columns["rating"]):
        return _finish(job, SortedBucket(bucket, 0, 0, 0, 0.0, BucketSplit()))
    user, movie = (ids.encode(columns.pop(role), role in job.text_ids) for role in ("user", "movie"))
    movie_ids = read_movie_index(job)
    movie_row = look_up(movie_rows(movie_ids).loc[movie.raw].to_numpy(), movie.codes)
    user_hash = ids.stable_hash(user.raw)
    row_user = order.balanced_order(user_hash, job.options.seed)
    user_row = look_up(ids.inverse(row_user), user.codes)
    raw_users = user.raw[row_user]
    del user, movie
    timestamp = columns.pop("timestamp").cast(pa.int64()).to_numpy() if "timestamp" in columns else None
    kept, dropped = edges.sort_edges(user_row, movie_row, timestamp)
    user_ptr = edges.row_pointers(user_row[kept], len(raw_users))
    rating = columns.pop("rating").to_numpy()
    given = columns.pop("given").to_numpy() if "given" in columns else None
    events = edges.sum_by_pair(user_row, movie_row, kept, rating, given) if job.options.implicit else rating[kept]
    del user_row, rating
    arrays = {"movie": movie_row[kept], "rating": events}
    if timestamp is not None:
        arrays["timestamp"] = timestamp[kept]
    given = None if given is None else given[kept]
    del kept, movie_row, timestamp
    bucket_split = None
    if job.options.split_protocol not in split.WHOLE:
        data = _split_input(job, user_ptr, arrays, user_hash[row_user], ids.stable_hash(movie_ids))
        data.given = given
        splits = split.assign(job.options.split_protocol, data)
        bucket_split = _write_split(job, bucket, splits, arrays["rating"], low)
    for name, array in (arrays | {"degree": np.diff(user_ptr)}).items():
        array.tofile(array_path(job, bucket, name))
    write_arrow(users_path(job, bucket), pa.table({"user": raw_users}))
    most = float(arrays["rating"].max())
    return _finish(job, SortedBucket(bucket, len(raw_users), len(arrays["movie"]), dropped, most, bucket_split))


def trained_movies(job: PrepareJob, bucket: int) -> list[int]:
    """Rows of movies with a relevant rating by a train user of the bucket (protocol ``strong``)."""
    name = f"{_task_name(bucket)}-trained"
    if (done := job.read_marker(name)) is not None:
        return done
    data = _read_split_input(job, bucket)
    movies = [] if data is None else np.flatnonzero(split_ranking.trained_movies(data)).tolist()
    return job.write_marker(name, movies)


def count_times(job: PrepareJob, bin_: int | None, bucket: int) -> Counts:
    """Counts the times of a sorted bucket (protocol ``global-time``): by bin, or those of one bin."""
    path = array_path(job, bucket, "timestamp")
    timestamp = np.fromfile(path, np.int64) if path.exists() else np.zeros(0, np.int64)
    return split_time.count_bins(timestamp) if bin_ is None else split_time.count_in_bin(timestamp, bin_)


def split_bucket(
    job: PrepareJob, trained: list[int] | None, cuts: tuple[int, int] | None, low: float, bucket: int
) -> BucketSplit:
    """Splits a sorted bucket by a protocol that has looked at all buckets.

    Args:
        job: The job.
        trained: ``strong``: rows of movies with a relevant rating by any train user.
        cuts: ``global-time``: first times of validation and of test.
        low: Lowest possible rating.
        bucket: Index of the bucket.
    """
    name = f"{_task_name(bucket)}-split"
    if (done := job.read_marker(name)) is not None:
        return BucketSplit(**done)
    data, bucket_split = _read_split_input(job, bucket), BucketSplit()
    if data is not None:
        if trained is not None:
            data.trained = np.zeros(len(data.movie_hash), bool)
            data.trained[trained] = True
        data.cuts = cuts
        splits = split.assign(job.options.split_protocol, data)
        bucket_split = _write_split(job, bucket, splits, data.rating, low)
    job.write_marker(name, dataclasses.asdict(bucket_split))
    return bucket_split


def _read(job: PrepareJob, partitioned: list[PartitionedSplit], bucket: int) -> dict[str, pa.ChunkedArray]:
    """Reads the rows of a bucket in input order."""
    tables = []
    for input_split in partitioned:
        for part in range(input_split.parts):
            with pa.OSFile(str(part_path(job, input_split.number, part))) as file:
                tables.append(pa.Table.from_batches([pa.ipc.open_file(file).get_batch(bucket)]))
    table = pa.concat_tables(tables, promote_options="permissive")  # integers of some parts are narrower
    return dict(zip(table.column_names, table.columns))


def _split_input(
    job: PrepareJob,
    user_ptr: np.ndarray,
    arrays: dict[str, np.ndarray],
    user_hash: np.ndarray,
    movie_hash: np.ndarray,
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


def _read_split_input(job: PrepareJob, bucket: int) -> SplitInput | None:
    """Reads the input of the split protocol from the bucket's files; None for an empty bucket."""
    if not users_path(job, bucket).exists():
        return None
    degree = np.fromfile(array_path(job, bucket, "degree"), np.int64)
    arrays = {
        "movie": np.fromfile(array_path(job, bucket, "movie"), np.int32),
        "rating": np.fromfile(array_path(job, bucket, "rating"), np.float32),
    }
    if (path := array_path(job, bucket, "timestamp")).exists():
        arrays["timestamp"] = np.fromfile(path, np.int64)
    users = ids.stable_hash(raw_ids(read_arrow(users_path(job, bucket))["user"]))
    movies = ids.stable_hash(read_movie_index(job))
    return _split_input(job, np.concatenate([[0], np.cumsum(degree)]), arrays, users, movies)


def _write_split(job: PrepareJob, bucket: int, splits: np.ndarray, rating: np.ndarray, low: float) -> BucketSplit:
    splits.tofile(array_path(job, bucket, "split"))
    train = RatingCounts.of(rating[splits == TRAIN], low)
    counts = np.bincount(splits, minlength=len(SPLIT_NAMES)).tolist()
    return BucketSplit(counts, train.rating.tolist(), train.count.tolist())


def _finish(job: PrepareJob, result: SortedBucket) -> SortedBucket:
    job.write_marker(_task_name(result.number), dataclasses.asdict(result))
    return result


def _task_name(bucket: int) -> str:
    return f"bucket-{bucket:06d}"
