"""First task: partitions the rows of an input split into buckets of users.

A bucket is a range of the random keys that order users, so concatenating the buckets gives users in order, and no task
needs to know all users.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from gnnrec.data import draws, ids, order, read
from gnnrec.data.blocks import look_up
from gnnrec.data.ids import EncodedIds
from gnnrec.data.layout import ID_ROLES
from gnnrec.data.out_of_core.arrow_files import write_arrow
from gnnrec.data.out_of_core.input_splits import InputSplit, read_columns
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.reading_report import TimeRange
from gnnrec.kernels.ragged import counting_sort


@dataclasses.dataclass(frozen=True)
class PartitionedSplit:
    """Result of partitioning one input split.

    Attributes:
        number: Index of the split.
        file: Index of its file.
        parts: Number of files that its rows were written to.
        rows: Number of rows.
        rating_sample: Lowest and highest rating and, if there is one, a rating that is not a whole number.
        integer_rows: Role -> number of ratings whose id is an integer.
        other_ids: Role -> up to two ids that are no integers.
        examples: Role -> an id; empty without rows.
        left_out: Number of rows with a rating that stands for "not rated".
        times: First time, last time and number of implausible ones of each part, if there are times
            (:class:`gnnrec.data.reading_report.TimeRange`).
    """

    number: int
    file: int
    parts: int
    rows: int
    rating_sample: list[float]
    integer_rows: dict[str, int]
    other_ids: dict[str, list[str]]
    examples: dict[str, str]
    left_out: int
    times: list[list[int]]


class UnexpectedTextIds(Exception):
    """The job expects integer ids, but some are text. The argument is the role."""


def partition_by_user(job: PrepareJob, split: InputSplit) -> PartitionedSplit:
    """Reads a split, writes its rows by bucket, and counts the ratings of its movies.

    Raises:
        UserError: A row is wrong.
        UnexpectedTextIds: The job expects integer ids, but some are text.
    """
    if (done := job.read_marker(_task_name(split.number))) is not None:
        return PartitionedSplit(**done)
    layout, parts, rows, left_out = job.layouts[split.file], 0, 0, 0
    rating_sample: set[float] = set()
    integer_rows = dict.fromkeys(ID_ROLES, 0)
    other_ids: dict[str, set[str]] = {role: set() for role in ID_ROLES}
    examples: dict[str, str] = {}
    times: list[TimeRange] = []
    with read.explain_errors(layout):
        for columns in read_columns(layout, split, job.plan.rows_per_split):
            checked = read.check_columns(layout, columns)
            left_out += checked.left_out
            if not len(checked.rating):
                continue
            user, movie = (ids.encode(getattr(checked, role), role in job.text_ids) for role in ID_ROLES)
            for role, encoded in (("user", user), ("movie", movie)):
                if encoded.raw.dtype == object and role not in job.text_ids:
                    raise UnexpectedTextIds(role)
                examples.setdefault(role, str(encoded.raw[0]))
                integer_rows[role] += encoded.integer_rows
                other_ids[role] |= set(encoded.other_ids)
            rows += len(checked.rating)
            rating_sample |= _rating_sample(checked.rating)
            if (time_range := TimeRange.of(checked.timestamp)) is not None:
                times.append(time_range)
            _write(job, part_path(job, split.number, parts), user, movie, checked)
            _write_counts(counts_path(job, split.number, parts), movie)
            parts += 1
    result = PartitionedSplit(
        number=split.number,
        file=split.file,
        parts=parts,
        rows=rows,
        rating_sample=sorted(rating_sample),
        integer_rows=integer_rows,
        other_ids={role: sorted(values)[:2] for role, values in other_ids.items()},
        examples=examples,
        left_out=left_out,
        times=[[part.first, part.last, part.implausible] for part in times],
    )
    job.write_marker(_task_name(split.number), dataclasses.asdict(result))
    return result


def user_keys(seed: int, raw: np.ndarray) -> np.ndarray:
    """Sort keys of users (:func:`gnnrec.data.order.balanced_order`), int64 ``[users]``."""
    return draws.bits(order.order_key(seed), ids.stable_hash(raw))


def part_path(job: PrepareJob, split: int, part: int) -> Path:
    """Arrow file with the rows of a part of a split, one batch per bucket."""
    return job.scratch / f"{_task_name(split)}-{part:04d}.arrow"


def counts_path(job: PrepareJob, split: int, part: int) -> Path:
    """Arrow file with the movies of a part of a split: ``movie`` (raw id) and ``ratings``."""
    return job.scratch / f"{_task_name(split)}-{part:04d}-movies.arrow"


def _task_name(split: int) -> str:
    return f"input-{split:06d}"


def _rating_sample(rating: np.ndarray) -> set[float]:
    fractional = rating[rating != np.round(rating)]
    return {float(rating.min()), float(rating.max()), *fractional[:1].tolist()}


def _write(job: PrepareJob, path: Path, user: EncodedIds, movie: EncodedIds, checked: read.RatingColumns) -> None:
    bucket_of_user = _buckets(user_keys(job.options.seed, user.raw), job.plan.log_buckets)
    pointer, by_bucket = counting_sort(torch.from_numpy(look_up(bucket_of_user, user.codes)), job.buckets)
    positions = by_bucket.numpy()
    columns = {
        "user": _raw_ids_at(user, positions),
        "movie": _raw_ids_at(movie, positions),
        "rating": pa.array(look_up(checked.rating, positions)),
    }
    if checked.timestamp is not None:
        columns["timestamp"] = pa.array(look_up(_narrow(checked.timestamp), positions))
    if checked.split is not None:
        columns["given"] = pa.array(look_up(checked.split, positions))
    rows = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        for first, last in zip(pointer[:-1].tolist(), pointer[1:].tolist()):
            writer.write_batch(rows.slice(first, last - first))


def _buckets(keys: np.ndarray, log_buckets: int) -> np.ndarray:
    """Maps signed keys to equal ranges, int32."""
    if not log_buckets:
        return np.zeros(len(keys), np.int32)
    return ((keys >> (64 - log_buckets)) + (1 << (log_buckets - 1))).astype(np.int32)


def _raw_ids_at(encoded: EncodedIds, positions: np.ndarray) -> pa.Array:
    codes = look_up(encoded.codes, positions)
    if encoded.raw.dtype != object:
        return pa.array(look_up(_narrow(encoded.raw), codes))
    return pa.array(encoded.raw, pa.large_string()).take(pa.array(codes))


def _narrow(values: np.ndarray) -> np.ndarray:
    """Converts int64 ``values`` to int32 if they fit, which halves disk traffic."""
    fits = -(2**31) <= values.min() and values.max() < 2**31
    return values.astype(np.int32) if fits else values


def _write_counts(path: Path, movie: EncodedIds) -> None:
    raw = pa.array(movie.raw, pa.large_string() if movie.raw.dtype == object else pa.int64())
    write_arrow(path, pa.table({"movie": raw, "ratings": np.bincount(movie.codes, minlength=len(movie.raw))}))
