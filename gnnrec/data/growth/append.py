"""``gnnrec prepare --append``: adds ratings to a prepared dataset, whose users and movies keep their rows."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.data import order, remote, split_ranking
from gnnrec.data import rating_scale as scales
from gnnrec.data.features.node_features import NODES
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.generations import Change, change, now
from gnnrec.data.growth.increment import Increment, read_increment
from gnnrec.data.growth.merge import RatingChanges, find_ratings, merged_pointers, write_merged
from gnnrec.data.growth.node_tables import write_features, write_movies, write_users
from gnnrec.data.growth.resplit import Resplit
from gnnrec.data.prepared import ROWS_BEFORE, SPLIT_NAMES, Manifest
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.errors import UserError
from gnnrec.utils.addresses import cache_directory
from gnnrec.utils.log import logger


def append(out: Path, options: AppendOptions) -> Manifest:
    """Appends ratings, and prints what has changed.

    Ratings of new pairs of user and movie are added; of pairs that the dataset has, the latest rating counts, and
    without times the appended one. New users and movies get the rows after those of the dataset. Splits are those that
    a fresh preparation of all files would give.

    Args:
        out: A prepared dataset.
        options: The options.

    Returns:
        The manifest after the change.

    Raises:
        UserError: Bad input; nothing was changed.
    """
    started = time.perf_counter()
    if not options.append:
        raise UserError("--append needs the ratings to append: pass a file, a directory or a pattern")
    with change(out) as opened:
        dataset = opened.dataset
        options = _local(options.with_columns(dataset.manifest.source.get("columns", {})))
        increment = read_increment(dataset, options)
        dataset.check()
        changes, added, counts = _changes(opened, increment)
        titled = _write_tables(opened, increment, options)
        user_ptr = merged_pointers(np.asarray(dataset.user_ptr), changes)
        entry = {
            "kind": "append",
            "files": increment.sources,
            "counts": counts,
            "time": now(),
        }
        totals = dataset.manifest.counts | {
            "users": changes.num_users,
            "movies": dataset.num_movies + len(increment.new_movies),
            "ratings": int(user_ptr[-1]),
        }
        if "duplicates_dropped" in totals:
            totals["duplicates_dropped"] += increment.rows - len(changes.user)
        manifest = dataclasses.replace(
            dataset.manifest, counts=totals, increments=[*dataset.manifest.increments, entry]
        )
        manifest = finish(opened, manifest, changes, user_ptr, added)
    report = increment.report
    report.movies, report.titles = manifest.counts["movies"], titled
    report.tells_titles = increment.movies_path is not None
    _report(out, increment, counts, manifest, time.perf_counter() - started)
    return manifest


def finish(
    opened: Change,
    manifest: Manifest,
    changes: RatingChanges,
    user_ptr: np.ndarray,
    given: np.ndarray | None = None,
    keep_previous: bool = True,
    receipt: tuple[Path, dict] | None = None,
) -> Manifest:
    """Writes the ratings after changes, splits them again, and makes the change.

    Args:
        opened: The change; tables of users and movies are written if they changed.
        manifest: Counts after the change.
        changes: The changes.
        user_ptr: Start of the ratings of each user after the change.
        given: Given splits of inserted and replaced ratings, in the order of their positions after the change.
        keep_previous: Keep the files before the change until the next one.
        receipt: A file to write with the change, and its contents.
    """
    dataset, directory = opened.dataset, opened.directory
    shards = order.balanced_shards(user_ptr, manifest.source.get("shards", len(manifest.shards) - 1))
    np.save(directory / "user_ptr.npy", user_ptr, allow_pickle=False)
    checksums = write_merged(dataset, changes, user_ptr, shards, directory)
    inserted = changes.position + np.arange(len(changes.position))
    replaced = changes.replaced + np.searchsorted(changes.position, changes.replaced, side="right")
    changed = np.sort(np.concatenate([inserted, replaced]))
    tables = {name: directory / name for name in ("users.parquet", "movies.parquet")}
    tables = {name: path if path.exists() else dataset.path(name) for name, path in tables.items()}
    if rating_maximum := _counted_maximum(dataset.manifest, changes):
        manifest = dataclasses.replace(manifest, rating=manifest.rating | {"max": rating_maximum})
    splitter = Resplit(manifest, directory, user_ptr, tables["users.parquet"], tables["movies.parquet"])
    splitter.write(changed, given)
    checksums["split"], split_counts, train = splitter.count(shards)
    manifest = with_ratings(manifest, train, split_counts)
    return opened.commit(
        dataclasses.replace(manifest, shards=shards),
        user_ptr,
        checksums,
        tuple(name for name in ROWS_BEFORE.values() if not (directory / name).exists()),
        keep_previous,
        receipt,
    )


def with_ratings(manifest: Manifest, train: RatingCounts, split_counts: np.ndarray) -> Manifest:
    """The manifest with the constants of train ratings and the sizes of splits.

    Raises:
        UserError: No rating is in a split that is used.
    """
    mean, std = train.moments()
    scale = (manifest.rating["min"], manifest.rating["max"])
    rating = manifest.rating | {"mean": mean, "std": std, "levels": scales.levels(train, scale)}
    by_name = {name: int(number) for name, number in zip(SPLIT_NAMES, split_counts)}
    split_ranking.check_used(by_name, manifest.split.get("relevant", scale[0]))
    return dataclasses.replace(manifest, rating=rating, split=manifest.split | {"counts": by_name})


def _counted_maximum(manifest: Manifest, changes: RatingChanges) -> float | None:
    """The largest number of events of a pair; None for ratings, whose scale does not change."""
    if not manifest.source.get("implicit"):
        return None
    values = [changes.inserted["rating"], changes.values["rating"]] if changes.kept_users is None else []
    return max([manifest.rating["max"], *(float(part.max()) for part in values if len(part))])


def _changes(opened: Change, increment: Increment) -> tuple[RatingChanges, np.ndarray | None, dict[str, int]]:
    """Finds out which ratings are new and which replace others.

    Returns:
        The changes; given splits of new and replaced ratings in the order of their positions; and counts for the
        manifest.
    """
    dataset, columns = opened.dataset, dict(increment.columns)
    position, is_known = find_ratings(dataset, increment.user, increment.movie)
    replaces = is_known.copy()
    known = position[is_known]
    implicit = bool(dataset.manifest.source.get("implicit"))
    if "timestamp" in columns:
        before, after = np.asarray(dataset.timestamp[known]), columns["timestamp"][is_known]
        if implicit:
            columns["timestamp"] = columns["timestamp"].copy()
            columns["timestamp"][is_known] = np.maximum(before, after)
        else:
            replaces[is_known] = after >= before
    if implicit:
        columns["rating"] = columns["rating"].copy()
        columns["rating"][is_known] += dataset.rating[known]
    is_new = ~is_known
    changes = RatingChanges(
        user=increment.user[is_new],
        position=position[is_new],
        inserted={name: column[is_new] for name, column in columns.items()},
        replaced=position[replaces],
        values={name: column[replaces] for name, column in columns.items() if name != "movie"},
        kept_users=None,
        num_users=dataset.num_users + len(increment.new_users),
    )
    counts = {
        "rows": increment.rows,
        "ratings": int(is_new.sum()),
        "changed": int(replaces.sum()),
        "older": int((is_known & ~replaces).sum()),
        "users": len(increment.new_users),
        "movies": len(increment.new_movies),
    }
    given = None if increment.given is None else increment.given[is_new | replaces]
    return changes, given, counts


def _write_tables(opened: Change, increment: Increment, options: AppendOptions) -> int:
    """Writes tables and features that change; returns the number of movies in the movies file."""
    dataset, directory, titled = opened.dataset, opened.directory, 0
    if len(increment.new_users):
        write_users(dataset, increment.new_users, directory)
    if len(increment.new_movies) or increment.movies_path is not None:
        path, names = increment.movies_path, options.movies_names()
        titled = write_movies(dataset, increment.new_movies, path, names, directory)
    tables = {"user": options.user_features, "movie": options.movie_features}
    new = {"user": increment.new_users, "movie": increment.new_movies}
    if any(tables[node] or dataset.features(node) is not None for node in NODES):
        id_names = {"user": options.user_column, "movie": options.movie_column}
        write_features(dataset, tables, new, id_names, directory)  # type: ignore[arg-type]
    return titled


def _local(options: AppendOptions) -> AppendOptions:
    """Copies files at addresses, as ``gnnrec prepare`` does."""
    copies: dict[str, Any] = {
        name: [str(remote.local_copy(Path(path), cache_directory())) for path in getattr(options, name)]
        for name in ("append", "movie_features", "user_features")
    }
    movies = None if options.movies is None else remote.local_copy(options.movies, cache_directory())
    return dataclasses.replace(options, movies=movies, **copies)


def _report(out: Path, increment: Increment, counts: dict[str, int], manifest: Manifest, seconds: float) -> None:
    totals, parts = manifest.counts, manifest.split["counts"]
    logger.info(
        f"{out}: {counts['ratings']:,} new ratings, {counts['changed']:,} changed, {counts['users']:,} new users, "
        f"{counts['movies']:,} new movies; now {totals['users']:,} users, {totals['movies']:,} movies, "
        f"{totals['ratings']:,} ratings"
    )
    if counts["older"]:
        logger.info(f"  {counts['older']:,} ratings are older than those of the same pairs, and are left out")
    sizes = ", ".join(f"{name} {parts[name]:,}" for name in SPLIT_NAMES if parts[name])
    logger.info(f"  {manifest.split['protocol']} split: {sizes}; {seconds:.1f} s")
    increment.report.log()
