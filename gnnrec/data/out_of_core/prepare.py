"""``gnnrec prepare --engine stream`` and ``--engine dask``: more ratings than memory.

There are three steps: *partition_by_user* reads input splits and partitions their rows into buckets of users,
*sort_bucket* sorts a bucket and splits it into train, validation and test, and *assemble* concatenates the buckets. The
first two consist of independent tasks; each writes a marker when it is done, so that an interrupted run resumes with
the remaining tasks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from gnnrec.data import check, manifest_builder, order, rating_scale, read, split_ranking, split_time
from gnnrec.data.features.job import FeatureJob, files_of
from gnnrec.data.features.report import UnknownFeatureIds
from gnnrec.data.layout import ID_ROLES, Layout
from gnnrec.data.movies import movie_table
from gnnrec.data.out_of_core import assemble
from gnnrec.data.out_of_core.engines import Engine, open_engine
from gnnrec.data.out_of_core.input_splits import make_input_splits
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.movie_index import make_movie_index
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, UnexpectedTextIds, partition_by_user
from gnnrec.data.out_of_core.size import plan
from gnnrec.data.out_of_core.sort_bucket import (
    BucketSplit,
    SortedBucket,
    count_times,
    sort_bucket,
    split_bucket,
    trained_movies,
)
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import Manifest
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.reading_report import IdSummary, ReadingReport, TimeRange
from gnnrec.data.split import WHOLE
from gnnrec.data.write_prepared import write_manifest
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.files import DirectoryOpener
from gnnrec.utils.resource_errors import reserve_for_threads


def prepare_out_of_core(
    out: Path,
    open_output: DirectoryOpener,
    layouts: list[Layout],
    movies_path: Path | None,
    features: FeatureJob | None,
    options: PrepareOptions,
) -> tuple[Manifest, ReadingReport]:
    """Writes a prepared dataset.

    Args:
        out: Output directory; the scratch directory is next to it by default.
        open_output: Opens the directory to write into.
        layouts: The ratings files; of two ratings of a pair at the same time, the one in the later file counts.
        movies_path: The movies file, or None.
        features: Features to write, or None.
        options: The options.

    Returns:
        The manifest, and how the files have been understood.

    Raises:
        UserError: Bad input. The scratch directory is removed, unless a table of features has ids of none of the nodes.
    """
    scratch = options.scratch or out.parent / f".{out.name}.parts"
    job = PrepareJob(scratch, layouts, options, plan(layouts, options), layouts[0].text_ids)
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(open_engine(options))
        reserve_for_threads()
        hashing = ThreadPoolExecutor(1)
        stack.callback(hashing.shutdown, wait=False, cancel_futures=True)  # bad input need not wait for checksums
        paths = [*(layout.path for layout in layouts), *([movies_path] if movies_path else []), *files_of(features)]
        checksums = hashing.map(files.sha256, paths)
        try:
            job, partitioned = _partition_all(job, engine)
            scale = _check_partitioned(job, partitioned)
            movie_ids = make_movie_index(job, partitioned)
            movies, titles = movie_table(movie_ids, movies_path, options.movies_names())
            buckets = _sort_all(job, partitioned, scale[0], engine)
            splits = _splits(job, buckets, scale[0], engine)
            with open_output() as directory:
                manifest = _build_manifest(job, buckets, splits, scale, len(movies))
                manifest.source = manifest_builder.source(options, paths, checksums)
                _write(job, buckets, manifest, movies, features, directory)
        except UnknownFeatureIds:  # of a table: what was made of the ratings is used by the next run
            raise
        except UserError:
            job.remove_scratch()
            raise
    job.remove_scratch()
    times = [TimeRange(*part) for split in partitioned for part in split.times]
    return manifest, ReadingReport(
        layouts=layouts,
        ids={role: _id_summary(job, partitioned, role) for role in ID_ROLES},
        ratings=sum(split.rows for split in partitioned),
        scale=scale,
        times=TimeRange.merge(times),
        left_out=sum(split.left_out for split in partitioned),
        movies_path=movies_path,
        movies=len(movies),
        titles=titles,
    )


def _id_summary(job: PrepareJob, partitioned: list[PartitionedSplit], role: str) -> IdSummary:
    return IdSummary(
        is_text=role in job.text_ids,
        example=next(split.examples[role] for split in partitioned if split.examples),
        integer_rows=sum(split.integer_rows[role] for split in partitioned),
        other_ids=tuple(sorted({name for split in partitioned for name in split.other_ids[role]})[:2]),
    )


def _build_manifest(
    job: PrepareJob, buckets: list[SortedBucket], splits: list[BucketSplit], scale: tuple[float, float], movies: int
) -> Manifest:
    """Builds the manifest without ``shards``, ``source`` and ``files``."""
    counts = {
        "users": sum(bucket.users for bucket in buckets),
        "movies": movies,
        "ratings": sum(bucket.ratings for bucket in buckets),
        "duplicates_dropped": sum(bucket.dropped for bucket in buckets),
    }
    if job.options.implicit:
        scale = (scale[0], max(bucket.most for bucket in buckets))
    low, split_counts = scale[0], np.sum([split.counts for split in splits], axis=0)
    parts = [RatingCounts(np.array(split.ratings), np.array(split.rating_counts), low) for split in splits]
    train = RatingCounts.merge(parts, low)
    return manifest_builder.build_manifest(job.options, counts, scale, train, split_counts, [])


def _write(
    job: PrepareJob,
    buckets: list[SortedBucket],
    manifest: Manifest,
    movies: pd.DataFrame,
    features: FeatureJob | None,
    directory: Path,
) -> None:
    movies.to_parquet(directory / "movies.parquet", index=False)
    assemble.write_users(job, buckets, directory)
    checksums = assemble.write_arrays(job, buckets, directory)
    user_ptr = np.load(directory / "user_ptr.npy", mmap_mode="r")
    manifest.shards = order.balanced_shards(user_ptr, job.options.shards)
    if features is not None:
        features.write(directory)
    write_manifest(directory, manifest, checksums)


def _partition_all(job: PrepareJob, engine: Engine) -> tuple[PrepareJob, list[PartitionedSplit]]:
    """Partitions all splits; starts again with text ids if ids turn out not to be integers."""
    while True:
        job = job.open_scratch()
        splits = make_input_splits(job.layouts, job.plan.rows_per_split)
        try:
            return job, _run_all(engine, "reading", partition_by_user, job, items=splits)
        except UnexpectedTextIds as error:
            job.remove_scratch()
            job = dataclasses.replace(job, text_ids=job.text_ids | {error.args[0]})


def _check_partitioned(job: PrepareJob, partitioned: list[PartitionedSplit]) -> tuple[float, float]:
    """Runs the checks that need all splits, and returns the rating scale."""
    total = sum(split.rows for split in partitioned)
    if not total:
        raise read.no_ratings(job.layouts[0], sum(split.left_out for split in partitioned))
    for role in ID_ROLES:
        summary = _id_summary(job, partitioned, role)
        check.refuse_mixed_ids(job.layouts, role, summary.integer_rows, total, summary.other_ids)
    samples = [
        [rating for split in partitioned if split.file == number for rating in split.rating_sample]
        for number in range(len(job.layouts))
    ]
    arrays = [np.array(sample, np.float32) for sample in samples]
    scale = rating_scale.resolve_all(job.layouts, job.options.rating_scale, arrays)
    split_ranking.check_relevant(job.options.split_protocol, job.options.relevant_rating, scale)
    return scale


def _sort_all(job: PrepareJob, partitioned: list[PartitionedSplit], low: float, engine: Engine) -> list[SortedBucket]:
    buckets = _run_all(engine, "sorting", sort_bucket, job, partitioned, low, items=range(job.buckets))
    if sum(bucket.users for bucket in buckets) < 2:
        raise read.too_few_users(job.layouts[0])
    return buckets


def _splits(job: PrepareJob, buckets: list[SortedBucket], low: float, engine: Engine) -> list[BucketSplit]:
    """Splits of all buckets, in any order. Some protocols read all buckets before they split one."""
    protocol, numbers = job.options.split_protocol, range(job.buckets)
    if protocol not in WHOLE:
        return [bucket.split for bucket in buckets if bucket.split is not None]
    trained, cuts = None, None
    if protocol == "strong":
        trained = sorted(set().union(*engine.map_unordered(trained_movies, job, items=numbers)))
    else:
        bins = split_time.merge(engine.map_unordered(count_times, job, None, items=numbers))
        cuts = split_time.find_cuts(
            bins,
            lambda bin_: split_time.merge(engine.map_unordered(count_times, job, bin_, items=numbers)),
            job.options.test,
            job.options.validation_share,
        )
    return list(engine.map_unordered(split_bucket, job, trained, cuts, low, items=numbers))


def _run_all(engine: Engine, step: str, function: Callable[..., Any], *shared: Any, items: Sequence) -> list:
    """Returns all results in the order of their items; shows a progress bar on a terminal."""
    results = engine.map_unordered(function, *shared, items=items)
    bar = tqdm(results, f"prepare: {step}", len(items), leave=False, disable=not sys.stderr.isatty())
    return sorted(bar, key=lambda result: result.number)
