"""The first task: a piece of input, its rows sorted into buckets of users.

A bucket is a range of the random keys that order users, so buckets in their order hold the users in theirs: no task has
to know all users.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from gnnrec import rng
from gnnrec.data import ids, order, read
from gnnrec.data.blocks import look_up
from gnnrec.data.ids import EncodedIds
from gnnrec.data.out_of_core.arrow_files import write_arrow
from gnnrec.data.out_of_core.input_splits import InputSplit, tables
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.kernels.ragged import counting_sort


@dataclasses.dataclass(frozen=True)
class PartitionedSplit:
    """What a piece had.

    Attributes:
        number: Its number.
        file: The number of its file.
        parts: Files that its rows were written to.
        rows: Rows.
        rating_sample: Its lowest and highest rating and, where there is one, a rating that is not whole.
        integers: Roles some of whose ids were integers.
        words: Roles some of whose ids were not.
    """

    number: int
    file: int
    parts: int
    rows: int
    rating_sample: list[float]
    integers: list[str]
    words: list[str]


class UnexpectedWords(Exception):
    """Ids that the job takes for integers are not. Holds the role."""


def partition_by_user(job: PrepareJob, piece: InputSplit) -> PartitionedSplit:
    """Reads a piece, writes its rows by bucket and the numbers of ratings of its movies.

    Raises:
        UserError: A row is wrong.
        UnexpectedWords: Ids that the job takes for integers are not.
    """
    if (done := job.read_marker(_name(piece.number))) is not None:
        return PartitionedSplit(**done)
    layout, parts, rows = job.layouts[piece.file], 0, 0
    rating_sample: set[float] = set()
    integers: set[str] = set()
    words: set[str] = set()
    with read.refusing(layout):
        for columns in tables(layout, piece, job.plan.rows_a_piece):
            if not len(columns["rating"]):
                continue
            ratings = read.encoded(layout, columns)
            for role, ids_of in (("user", ratings.user), ("movie", ratings.movie)):
                text = ids_of.raw.dtype == object
                if text and role not in job.text_ids:
                    raise UnexpectedWords(role)
                (words if text else integers).add(role)
                if ids_of.mixed:
                    integers.add(role)
            user, movie = (_as_expected(job, role, getattr(ratings, role)) for role in ("user", "movie"))
            rows += len(ratings.rating)
            rating_sample |= _rating_sample(ratings.rating)
            _write(job, part_path(job, piece.number, parts), user, movie, ratings.rating, ratings.timestamp)
            _write_counts(counts_path(job, piece.number, parts), movie)
            parts += 1
    found = PartitionedSplit(
        piece.number, piece.file, parts, rows, sorted(rating_sample), sorted(integers), sorted(words)
    )
    job.leave_marker(_name(piece.number), dataclasses.asdict(found))
    return found


def user_keys(seed: int, raw: np.ndarray) -> torch.Tensor:
    """What users are ordered by (:func:`gnnrec.data.order.balanced_order`), int64 ``[users]``."""
    return rng.bits(order.stream(seed), ids.stable_hash(raw))


def part_path(job: PrepareJob, piece: int, part: int) -> Path:
    """Rows of a part of a piece: an Arrow file with one batch for each bucket."""
    return job.scratch / f"{_name(piece)}-{part:04d}.arrow"


def counts_path(job: PrepareJob, piece: int, part: int) -> Path:
    """Movies of a part of a piece: ``movie`` (raw id) and ``ratings``, an Arrow file."""
    return job.scratch / f"{_name(piece)}-{part:04d}-movies.arrow"


def _name(piece: int) -> str:
    return f"piece-{piece:06d}"


def _as_expected(job: PrepareJob, role: str, found: EncodedIds) -> EncodedIds:
    """Integers as text, where ids of other pieces are not integers."""
    if role not in job.text_ids or found.raw.dtype == object:
        return found
    return EncodedIds(found.raw.astype(str).astype(object), found.codes)


def _rating_sample(rating: np.ndarray) -> set[float]:
    broken = rating[rating != np.round(rating)]
    return {float(rating.min()), float(rating.max()), *broken[:1].tolist()}


def _write(
    job: PrepareJob, path: Path, user: EncodedIds, movie: EncodedIds, rating: np.ndarray, timestamp: np.ndarray | None
) -> None:
    of_user = _buckets(user_keys(job.options.seed, user.raw).numpy(), job.plan.log_buckets)
    pointer, moved = counting_sort(torch.from_numpy(look_up(of_user, user.codes)), job.buckets)
    place = moved.numpy()
    columns = {
        "user": _taken(user, place),
        "movie": _taken(movie, place),
        "rating": pa.array(look_up(rating, place)),
    }
    if timestamp is not None:
        columns["timestamp"] = pa.array(look_up(_narrow(timestamp), place))
    rows = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        for first, last in zip(pointer[:-1].tolist(), pointer[1:].tolist()):
            writer.write_batch(rows.slice(first, last - first))


def _buckets(keys: np.ndarray, log_buckets: int) -> np.ndarray:
    """Equal ranges of the signed keys, int32."""
    if not log_buckets:
        return np.zeros(len(keys), np.int32)
    return ((keys >> (64 - log_buckets)) + (1 << (log_buckets - 1))).astype(np.int32)


def _taken(found: EncodedIds, place: np.ndarray) -> pa.Array:
    codes = look_up(found.codes, place)
    if found.raw.dtype != object:
        return pa.array(look_up(_narrow(found.raw), codes))
    return pa.array(found.raw, pa.large_string()).take(pa.array(codes))


def _narrow(values: np.ndarray) -> np.ndarray:
    """int32 where that holds all of int64 ``values``: half of what goes to the disk and back."""
    fits = -(2**31) <= values.min() and values.max() < 2**31
    return values.astype(np.int32) if fits else values


def _write_counts(path: Path, movie: EncodedIds) -> None:
    raw = pa.array(movie.raw, pa.large_string() if movie.raw.dtype == object else pa.int64())
    write_arrow(path, pa.table({"movie": raw, "ratings": np.bincount(movie.codes, minlength=len(movie.raw))}))
