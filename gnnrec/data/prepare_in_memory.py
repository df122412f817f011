"""``gnnrec prepare --engine memory``: prepares files with all ratings in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data import edges, ids, manifest_builder, order, rating_scale, split, split_ranking
from gnnrec.data.blocks import look_up
from gnnrec.data.features.job import FeatureJob, files_of
from gnnrec.data.layout import Layout
from gnnrec.data.movies import movie_table
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, Manifest
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.data.read import Ratings, read_ratings
from gnnrec.data.reading_report import ReadingReport
from gnnrec.data.threads import in_threads
from gnnrec.data.write_prepared import write_prepared
from gnnrec.utils import files
from gnnrec.utils.files import DirectoryOpener
from gnnrec.utils.resource_errors import reserve_for_threads


def prepare_in_memory(
    open_output: DirectoryOpener,
    layouts: list[Layout],
    movies_path: Path | None,
    features: FeatureJob | None,
    options: PrepareOptions,
) -> tuple[Manifest, ReadingReport]:
    """Writes a prepared dataset.

    Args:
        open_output: Opens the directory to write into.
        layouts: The ratings files; of two ratings of a pair at the same time, the one in the later file counts.
        movies_path: The movies file, or None.
        features: Features to write, or None.
        options: The options.

    Returns:
        The manifest, and how the files have been understood.

    Raises:
        UserError: Bad input.
    """
    # Checksums are computed during parsing: hashlib releases the GIL.
    reserve_for_threads()
    with ThreadPoolExecutor(2) as pool:
        paths = [*(layout.path for layout in layouts), *([movies_path] if movies_path else []), *files_of(features)]
        checksums = pool.map(files.sha256, paths)
        ratings = read_ratings(layouts)
        ratings.movie = ids.by_frequency(ratings.movie)
        by_file = np.split(ratings.rating, np.cumsum(ratings.file_rows)[:-1])
        scale = rating_scale.resolve_all(layouts, options.rating_scale, by_file)
        del by_file
        split_ranking.check_relevant(options.split_protocol, options.relevant_rating, scale)
        named = pool.submit(movie_table, ratings.movie.raw, movies_path, options.movies_names())
        report = ReadingReport.of(layouts, ratings, scale, movies_path, titles=0)
        manifest, users, arrays = _arrange(ratings, scale, options)
        movies, report.titles = named.result()
        manifest.source = manifest_builder.source(options, paths, checksums)
    write_more = None if features is None else features.write
    with open_output() as directory:
        return write_prepared(directory, manifest, users, movies, arrays, write_more), report


def _arrange(
    ratings: Ratings, scale: tuple[float, float], options: PrepareOptions
) -> tuple[Manifest, pd.DataFrame, dict[str, np.ndarray]]:
    """Orders users, sorts and splits the ratings. Empties ``ratings`` to free memory early."""
    raw_users, raw_movies = ratings.user.raw, ratings.movie.raw
    user_hash = ids.stable_hash(raw_users)
    row_user = order.balanced_order(user_hash, options.seed)
    user = look_up(ids.inverse(row_user), ratings.user.codes)
    ratings.user = None
    kept, dropped = edges.sort_edges(user, ratings.movie.codes, ratings.timestamp)
    user_ptr = edges.row_pointers(user[kept], len(row_user))
    events = None
    if options.implicit:
        events = edges.sum_by_pair(user, ratings.movie.codes, kept, ratings.rating, ratings.split)
        scale = (scale[0], float(events.max()))
    del user
    columns = {"movie": ratings.movie.codes, "rating": ratings.rating, "timestamp": ratings.timestamp}
    columns["given"] = ratings.split
    columns = {name: column for name, column in columns.items() if column is not None}
    ratings.movie = ratings.rating = ratings.timestamp = ratings.split = None
    arrays = _take(columns, kept)
    if events is not None:
        arrays["rating"] = events
    del kept, events
    if options.order == "metis":
        parts = min(options.shards, len(row_user))
        part = order.metis_parts(user_ptr, arrays["movie"], len(raw_movies), parts, options.seed)
        old_rows, bounds = order.parts_to_order(part)
        row_user = row_user[old_rows]
        user_ptr, arrays = edges.reorder_users(user_ptr, arrays, old_rows)
    else:
        bounds = order.balanced_shards(user_ptr, options.shards)
    arrays["user_ptr"] = user_ptr
    arrays["split"] = split.assign(
        options.split_protocol,
        split.SplitInput(
            user_ptr=user_ptr,
            movie=arrays["movie"],
            rating=arrays["rating"],
            timestamp=arrays.get("timestamp"),
            user_hash=user_hash[row_user],
            movie_hash=ids.stable_hash(raw_movies),
            given=arrays.pop("given", None),
            **manifest_builder.split_options(options),
        ),
    )
    counts = {
        "users": len(raw_users),
        "movies": len(raw_movies),
        "ratings": len(arrays["movie"]),
        "duplicates_dropped": dropped,
    }
    train = RatingCounts.of(arrays["rating"][arrays["split"] == TRAIN], scale[0])
    split_counts = np.bincount(arrays["split"], minlength=len(SPLIT_NAMES))
    manifest = manifest_builder.build_manifest(options, counts, scale, train, split_counts, bounds)
    return manifest, manifest_builder.user_table(0, raw_users[row_user]), arrays


def _take(columns: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Takes rows of all columns. Empties ``columns`` to free memory early."""
    names = list(columns)
    return dict(zip(names, in_threads(lambda name: columns.pop(name)[rows], names)))
