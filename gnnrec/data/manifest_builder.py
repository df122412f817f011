"""Builds the manifest and the printed summary of ``gnnrec prepare`` for all engines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.data import order, rating_scale, split_ranking
from gnnrec.data.layout import ALL_ROLES
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import SPLIT_NAMES, TEST, Manifest
from gnnrec.data.rating_counts import RatingCounts
from gnnrec.utils.log import logger

_SPLIT_OPTIONS = ("test", "seed", "least_relevant", "held_out")


def split_options(options: PrepareOptions) -> dict:
    """Options passed to :class:`gnnrec.data.split_input.SplitInput`."""
    shared = {name: getattr(options, name) for name in _SPLIT_OPTIONS}
    return shared | {"validation": options.validation_share, "relevant": options.relevant_rating}


def source(options: PrepareOptions, paths: list[Path], checksums: Iterable[str]) -> dict:
    """Builds the manifest's ``source`` entry; ``checksums`` are the SHA-256 of the files."""
    entries = [
        {"name": path.name, "bytes": path.stat().st_size, "sha256": checksum}
        for path, checksum in zip(paths, checksums)
    ]
    columns = {f"{role}_column": getattr(options, f"{role}_column") for role in ALL_ROLES}
    columns |= {"columns": options.columns, "movies_columns": options.movies_columns}
    return {
        "dataset": options.dataset,
        "files": entries,
        "columns": {option: name for option, name in columns.items() if name},
        "ids": options.ids,
        "implicit": options.implicit,
        "not_rated": list(options.not_rated_codes()),
        "shards": options.shards,
    }


def build_manifest(
    options: PrepareOptions,
    counts: dict[str, int],
    scale: tuple[float, float],
    ratings: RatingCounts,
    split_counts: np.ndarray,
    shards: list[int],
) -> Manifest:
    """Builds the manifest without ``source`` and ``files``.

    Args:
        options: The options.
        counts: ``users``, ``movies``, ``ratings``, ``duplicates_dropped``.
        scale: Lowest and highest possible rating.
        ratings: The train ratings.
        split_counts: Number of ratings per split, int ``[splits]``.
        shards: Row boundaries.

    Raises:
        UserError: The split leaves out all ratings.
    """
    mean, std = ratings.moments()
    rating = {"min": scale[0], "max": scale[1], "mean": mean, "std": std, "levels": rating_scale.levels(ratings, scale)}
    by_name = {name: int(number) for name, number in zip(SPLIT_NAMES, split_counts)}
    split_ranking.check_used(by_name, options.relevant_rating)
    protocol, relevant = options.split_protocol, max(options.relevant_rating, scale[0])
    holds_out_users = options.given_split and any(by_name[f"{name}_input"] for name in ("validation", "test"))
    if holds_out_users:
        protocol = "strong"
    names = () if options.given_split else split_ranking.RANKING_OPTIONS.get(protocol, ())
    ranking = {name: getattr(options, name) for name in names}
    if options.stores_relevant or holds_out_users:
        ranking["relevant"] = relevant
    shares = {} if options.given_split else {"test": options.test}
    return Manifest(
        source={},
        counts=counts,
        rating=rating,
        split={
            "protocol": protocol,
            **shares,
            "validation": options.validation_share,
            "seed": options.seed,
            **ranking,
            "counts": by_name,
        },
        order=options.order,
        shards=shards,
    )


def user_table(first: int, raw: np.ndarray) -> pd.DataFrame:
    """Builds the columns ``row`` (starting at ``first``) and ``user`` from raw ids in row order."""
    rows = np.arange(first, first + len(raw))
    return pd.DataFrame({"row": rows, "user": raw if raw.dtype != object else pd.Series(raw, dtype="str")})


def print_summary(out: Path, manifest: Manifest, user_ptr: np.ndarray, seconds: float) -> None:
    """Prints counts, split sizes and shard balance."""
    counts, parts = manifest.counts, manifest.split["counts"]
    logger.info(f"{out}: {counts['users']:,} users, {counts['movies']:,} movies, {counts['ratings']:,} ratings")
    repeated = f"{counts['duplicates_dropped']:,}"
    if manifest.source.get("implicit"):
        logger.info(f"  {repeated} further events of a pair counted (a rating is the number of events of its pair)")
    else:
        logger.info(f"  {repeated} duplicates dropped (the latest rating of a pair counts)")
    names = [name for split, name in enumerate(SPLIT_NAMES) if split <= TEST or parts[name]]
    logger.info(f"  {manifest.split['protocol']} split: " + ", ".join(f"{name} {parts[name]:,}" for name in names))
    load = order.imbalance(user_ptr, manifest.shards)
    shards = f"{len(manifest.shards) - 1} shards ({manifest.order}), largest {load:.3f} times the mean"
    logger.info(f"  {shards}; {seconds:.1f} s")
