"""``gnnrec prepare --engine stream`` and ``--engine dask``: more ratings than memory.

Three steps: *partition_by_user* reads pieces of the input and sorts their rows into buckets of users, *sort_bucket*
sorts and splits a
bucket, and the parts are put one behind the other. The first two are many tasks that need nothing of each other; each
leaves a note when it is done, so that a run that was interrupted goes on with what is left.
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

from gnnrec.data import check, manifest_builder, order, rating_scale, read, split_ranking
from gnnrec.data.formats import MOVIES_ROLES, Layout
from gnnrec.data.movies import movie_table
from gnnrec.data.out_of_core import assemble
from gnnrec.data.out_of_core.engines import Engine, engine
from gnnrec.data.out_of_core.input_splits import cut
from gnnrec.data.out_of_core.job import PrepareJob
from gnnrec.data.out_of_core.movie_index import make_movie_index
from gnnrec.data.out_of_core.partition_by_user import PartitionedSplit, UnexpectedWords, partition_by_user
from gnnrec.data.out_of_core.size import plan
from gnnrec.data.out_of_core.sort_bucket import SortedBucket, sort_bucket, split_strong, trained_movies
from gnnrec.data.prepare_options import PrepareOptions, named_columns
from gnnrec.data.prepared import Manifest, write_manifest
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.files import Complete


def prepare_out_of_core(
    out: Path, complete: Complete, layouts: list[Layout], movies_path: Path | None, options: PrepareOptions
) -> Manifest:
    """Writes a prepared dataset.

    Args:
        out: Where it will be; files in between lie beside it.
        complete: Opens the directory to write into.
        layouts: The ratings files, in the order that decides which of two equal ratings is the later one.
        movies_path: The movies file, or None.
        options: The options.

    Raises:
        UserError: Bad input. Nothing is left in between then.
    """
    _check_alike(layouts)
    scratch = options.scratch or out.parent / f".{out.name}.parts"
    job = PrepareJob(scratch, layouts, options, plan(layouts, options))
    with contextlib.ExitStack() as stack:
        workers = stack.enter_context(engine(options))
        beside = ThreadPoolExecutor(1)
        stack.callback(beside.shutdown, wait=False, cancel_futures=True)  # bad input need not wait for checksums
        paths = [*(layout.path for layout in layouts), *([movies_path] if movies_path else [])]
        checksums = beside.map(files.sha256, paths)
        try:
            job, pieces = _scatter_all(job, workers)
            scale = _check_pieces(job, pieces)
            catalogue = make_movie_index(job, pieces)
            movies = movie_table(catalogue, movies_path, named_columns(options, MOVIES_ROLES))
            buckets = _gather_all(job, pieces, workers)
            split_counts = _split_counts(job, buckets, workers)
            with complete() as directory:
                manifest = _describe(job, buckets, split_counts, scale, len(movies))
                manifest.source = manifest_builder.source(options, paths, checksums)
                _write(job, buckets, manifest, movies, directory)
        except UserError:
            job.remove_scratch()
            raise
    job.remove_scratch()
    return manifest


def _describe(
    job: PrepareJob, buckets: list[SortedBucket], split_counts: np.ndarray, scale: tuple[float, float], movies: int
) -> Manifest:
    """All but shards, source and files."""
    counts = {
        "users": sum(each.users for each in buckets),
        "movies": movies,
        "ratings": sum(each.ratings for each in buckets),
        "duplicates_dropped": sum(each.dropped for each in buckets),
    }
    distinct = np.unique(np.array([rating for each in buckets for rating in each.distinct], np.float32))
    return manifest_builder.describe(job.options, counts, scale, rating_scale.levels(distinct, scale), split_counts, [])


def _write(
    job: PrepareJob, buckets: list[SortedBucket], manifest: Manifest, movies: pd.DataFrame, directory: Path
) -> None:
    movies.to_parquet(directory / "movies.parquet", index=False)
    assemble.write_users(job, buckets, directory)
    checksums = assemble.write_arrays(job, buckets, directory)
    user_ptr = np.load(directory / "user_ptr.npy", mmap_mode="r")
    manifest.shards = order.balanced_shards(user_ptr, job.options.shards)
    write_manifest(directory, manifest, checksums)


def _check_alike(layouts: list[Layout]) -> None:
    first = layouts[0]
    for layout in layouts[1:]:
        if layout.columns.keys() != first.columns.keys():
            lacks = sorted(first.columns.keys() ^ layout.columns.keys())[0]
            lacking, having = (layout, first) if lacks in first.columns else (first, layout)
            raise UserError(
                f"{lacking.path} has no {lacks} column, as {having.path} has: give all files the same columns"
            )


def _scatter_all(job: PrepareJob, workers: Engine) -> tuple[PrepareJob, list[PartitionedSplit]]:
    """Scatters all pieces; where ids turn out to be words, from the start with that known."""
    while True:
        job = job.open_scratch()
        pieces = cut(job.layouts, job.plan.rows_a_piece)
        try:
            return job, _all(workers, "reading", partition_by_user, job, items=pieces)
        except UnexpectedWords as found:
            job.remove_scratch()
            job = dataclasses.replace(job, text_ids=job.text_ids | {found.args[0]})


def _check_pieces(job: PrepareJob, pieces: list[PartitionedSplit]) -> tuple[float, float]:
    """The rating scale; refuses what only all pieces together show to be wrong."""
    if not sum(piece.rows for piece in pieces):
        raise read.no_ratings(job.layouts[0])
    for role in ("user", "movie"):
        worded = [piece for piece in pieces if role in piece.words]
        if worded and any(role in piece.integers for piece in pieces) and job.layouts[worded[0].file].grouplens:
            check.raise_first_error(job.layouts[worded[0].file], integer_ids=(role,))
    scale = (np.inf, -np.inf)
    for number, layout in enumerate(job.layouts):
        rating_sample = [rating for piece in pieces if piece.file == number for rating in piece.rating_sample]
        if rating_sample:
            low, high = rating_scale.decide(layout, job.options.rating_scale, np.array(rating_sample, np.float32))
            scale = (min(scale[0], low), max(scale[1], high))
    split_ranking.check_relevant(job.options.protocol, job.options.relevant, scale)
    return scale


def _gather_all(job: PrepareJob, pieces: list[PartitionedSplit], workers: Engine) -> list[SortedBucket]:
    buckets = _all(workers, "sorting", sort_bucket, job, pieces, items=range(job.buckets))
    if sum(each.users for each in buckets) < 2:
        raise read.too_few_users(job.layouts[0])
    return buckets


def _split_counts(job: PrepareJob, buckets: list[SortedBucket], workers: Engine) -> np.ndarray:
    """Ratings of each split. The protocol ``strong`` looks at all buckets before it splits one."""
    found = [each.split_counts for each in buckets]
    if job.options.protocol == "strong":
        numbers = range(job.buckets)
        trained = set().union(*workers.results(trained_movies, job, items=numbers))
        found = list(workers.results(split_strong, job, sorted(trained), items=numbers))
    return np.sum(found, axis=0)


def _all(workers: Engine, what: str, function: Callable[..., Any], *shared: Any, items: Sequence) -> list:
    """All results in the order of their items, with a progress bar on a terminal."""
    results = workers.results(function, *shared, items=items)
    bar = tqdm(results, f"prepare: {what}", len(items), leave=False, disable=not sys.stderr.isatty())
    return sorted(bar, key=lambda found: found.number)
