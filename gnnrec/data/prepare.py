"""``gnnrec prepare``: from a ratings file to a prepared dataset."""

from __future__ import annotations

import dataclasses
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from gnnrec import files
from gnnrec.data import edges, formats, ids, order, rating_scale, split, split_ranking
from gnnrec.data.blocks import look_up
from gnnrec.data.movies import movie_table
from gnnrec.data.prepared import MANIFEST, SPLIT_NAMES, TEST, Manifest, write_prepared
from gnnrec.data.read import Ratings, read_ratings
from gnnrec.data.threads import one_torch_thread
from gnnrec.errors import UserError

_SPLIT_OPTIONS = ("test", "validation", "seed", "relevant", "least_relevant", "held_out")


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/gnnrec``, or ``~/.cache/gnnrec``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnnrec"


@dataclasses.dataclass
class PrepareOptions:
    """Options of ``gnnrec prepare``.

    Args:
        dataset: Name of a MovieLens dataset to download: ml-latest-small, ml-1m, ml-10m, ml-20m, ml-25m or ml-32m.
            Give this or ratings.
        ratings: A ratings file (GroupLens or Kaggle layout, any CSV also gzipped, or Parquet), or a directory with one.
        movies: A file with titles and genres; default is the known movies file beside a known ratings file, if any.
        user_column: Column of the user ids in the ratings file (default: guessed from usual names).
        movie_column: Column of the movie ids in the ratings file and the movies file (default: guessed).
        rating_column: Column of the ratings (default: guessed).
        timestamp_column: Column of the times: seconds since 1970 or YYYY-MM-DD HH:MM:SS (default: guessed; may be
            absent from the file).
        title_column: Column of the titles in the movies file (default: guessed; may be absent).
        genres_column: Column of the genres in the movies file (default: guessed; may be absent).
        rating_scale: Lowest and highest possible rating, written "MIN MAX" (default: 0.5 to 5 or 1 to 5 for
            GroupLens layouts, else lowest and highest rating in the file).
        protocol: How ratings are held out: random (each rating on its own) or temporal (each user's last ones); for
            ranking also strong (whole users, of whose relevant ratings a share is to be found) or leave-last (each
            user's last relevant rating for testing, the one before it for validation).
        test: Share of the ratings held out for testing, from 0 to below 1. With strong: share of the users. Not used
            by leave-last.
        validation: Share of the remaining ratings held out for validation, from 0 to below 1. With strong: share of
            the remaining users. Not used by leave-last.
        relevant: Lowest rating of a movie that its user likes; strong and leave-last use no rating below it.
        least_relevant: With strong: users with fewer relevant ratings are not used.
        held_out: With strong: share of a held-out user's relevant ratings that is to be found, between 0 and 1.
        seed: Seed of the split and of the order of users.
        order: How users are ordered into shards: balanced (random, equal numbers of ratings) or metis (users who rated
            the same movies together; needs pymetis).
        shards: Number of contiguous user ranges; the most ranks that can share the work.
        download_dir: Where downloaded datasets are kept.
        overwrite: Replace the output directory if it exists.
    """

    dataset: str | None = None
    ratings: Path | None = None
    movies: Path | None = None
    user_column: str | None = None
    movie_column: str | None = None
    rating_column: str | None = None
    timestamp_column: str | None = None
    title_column: str | None = None
    genres_column: str | None = None
    rating_scale: tuple[float, float] | str | None = None
    protocol: Literal["random", "temporal", "strong", "leave-last"] = "random"
    test: float = 0.1
    validation: float = 0.05
    relevant: float = 4.0
    least_relevant: int = 5
    held_out: float = 0.2
    seed: int = 0
    order: Literal["balanced", "metis"] = "balanced"
    shards: int = 256
    download_dir: Path = dataclasses.field(default_factory=cache_directory)
    overwrite: bool = False


def prepare(out: Path, options: PrepareOptions) -> Manifest:
    """Reads, checks, encodes, splits and writes a prepared dataset, and prints a short summary.

    The result depends on the ratings and the options only, not on the order of the rows in the file.

    Args:
        out: The directory to write; complete at the end or not there at all.
        options: See :class:`PrepareOptions`.

    Raises:
        UserError: Bad options or bad input.
    """
    began = time.perf_counter()
    out = Path(out)
    _check_options(options)
    files.check_replaceable(out, options.overwrite, MANIFEST)
    ratings_path, movies_path = _input_files(options)
    layout = formats.describe(ratings_path, formats.RATINGS_ROLES, _named(options, formats.RATINGS_ROLES))
    # Checksums beside the parsing: hashlib lets other threads run.
    with ThreadPoolExecutor(1) as pool, one_torch_thread():
        source = pool.submit(_source, options, [ratings_path, *([movies_path] if movies_path else [])])
        ratings = read_ratings(layout)
        ratings.movie = ids.by_frequency(ratings.movie)
        scale = rating_scale.decide(layout, options.rating_scale, ratings.rating)
        split_ranking.check_relevant(options.protocol, options.relevant, scale)
        movies = movie_table(ratings.movie.raw, movies_path, _named(options, formats.MOVIES_ROLES))
        manifest, users, arrays = _arrange(ratings, scale, options, source)
    with files.complete_directory(out, options.overwrite, MANIFEST) as directory:
        try:
            manifest = write_prepared(directory, manifest, users, movies, arrays)
        except OSError as error:
            raise UserError(
                f"{out}: cannot write there ({files.reason(error)}): make room or choose another place"
            ) from None
    _print_summary(out, manifest, arrays["user_ptr"], time.perf_counter() - began)
    return manifest


def _arrange(
    ratings: Ratings, scale: tuple[float, float], options: PrepareOptions, source: Future
) -> tuple[Manifest, pd.DataFrame, dict[str, np.ndarray]]:
    """Orders users, sorts and splits the ratings. Takes ``ratings`` apart to free memory early."""
    raw_users, raw_movies = ratings.user.raw, ratings.movie.raw
    user_hash = ids.stable_hash(raw_users)
    row_user = order.balanced_order(user_hash, options.seed)
    user = look_up(ids.inverse(row_user), ratings.user.codes)
    ratings.user = None
    kept, dropped = edges.sort_edges(user, ratings.movie.codes, ratings.timestamp)
    user_ptr = edges.row_pointers(user[kept], len(row_user))
    del user
    columns = {"movie": ratings.movie.codes, "rating": ratings.rating, "timestamp": ratings.timestamp}
    ratings.movie = ratings.rating = ratings.timestamp = None
    arrays = {name: columns.pop(name)[kept] for name in [*columns] if columns[name] is not None}
    del kept
    if options.order == "metis":
        parts = min(options.shards, len(row_user))
        part = order.metis_parts(user_ptr, arrays["movie"], len(raw_movies), parts, options.seed)
        moved, bounds = order.parts_to_order(part)
        row_user = row_user[moved]
        user_ptr, arrays = edges.reorder_users(user_ptr, arrays, moved)
    else:
        bounds = order.balanced_shards(user_ptr, options.shards)
    arrays["user_ptr"] = user_ptr
    arrays["split"] = split.PROTOCOLS[options.protocol](
        split.SplitInput(
            user_ptr=user_ptr,
            movie=arrays["movie"],
            rating=arrays["rating"],
            timestamp=arrays.get("timestamp"),
            user_hash=user_hash[row_user],
            movie_hash=ids.stable_hash(raw_movies),
            **{name: getattr(options, name) for name in _SPLIT_OPTIONS},
        )
    )
    manifest = Manifest(
        source=source.result(),
        counts={
            "users": len(raw_users),
            "movies": len(raw_movies),
            "ratings": len(arrays["movie"]),
            "duplicates_dropped": dropped,
        },
        rating={"min": scale[0], "max": scale[1], "levels": rating_scale.levels(arrays["rating"], scale)},
        split={
            "protocol": options.protocol,
            "test": options.test,
            "validation": options.validation,
            "seed": options.seed,
            **{name: getattr(options, name) for name in split_ranking.RANKING_OPTIONS.get(options.protocol, ())},
            "counts": {name: int((arrays["split"] == place).sum()) for place, name in enumerate(SPLIT_NAMES)},
        },
        order=options.order,
        shards=bounds,
    )
    raw = raw_users[row_user]
    users = pd.DataFrame(
        {"row": np.arange(len(raw)), "user": raw if raw.dtype != object else pd.Series(raw, dtype="str")}
    )
    return manifest, users, arrays


def _check_options(options: PrepareOptions) -> None:
    if (options.dataset is None) == (options.ratings is None):
        raise UserError("give either --dataset NAME or --ratings FILE")
    for name in ("test", "validation"):
        if not 0 <= getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)} is not a share: choose a number from 0 to below 1")
    if options.test + options.validation >= 1:
        shares = f"--test {options.test:g} and --validation {options.validation:g}"
        raise UserError(f"{shares} leave nothing to train on: choose shares that add up to less than 1")
    if options.least_relevant < 1:
        raise UserError(f"--least_relevant {options.least_relevant} is too few: choose at least 1")
    if not 0 < options.held_out < 1:
        raise UserError(f"--held_out {options.held_out} is not a share: choose a number between 0 and 1")
    if options.shards < 1:
        raise UserError(f"--shards {options.shards} is too few: choose at least 1")
    for name, known in (("protocol", split.PROTOCOLS), ("order", ("balanced", "metis"))):
        if getattr(options, name) not in known:
            raise UserError(f"--{name} {getattr(options, name)} is unknown: choose {' or '.join(known)}")
    rating_scale.parse(options.rating_scale)


def _input_files(options: PrepareOptions) -> tuple[Path, Path | None]:
    if options.dataset is not None:
        from gnnrec.data.download import fetch

        ratings = formats.locate_ratings(fetch(options.dataset, options.download_dir))
    else:
        ratings = formats.locate_ratings(options.ratings)
    return ratings, options.movies or formats.locate_movies(ratings)


def _named(options: PrepareOptions, roles: tuple[str, ...]) -> dict[str, str | None]:
    return {role: getattr(options, f"{role}_column") for role in roles}


def _source(options: PrepareOptions, paths: list[Path]) -> dict:
    """What the manifest says about where the ratings came from."""
    entries = [{"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in paths]
    columns = {f"{role}_column": name for role, name in _named(options, _ALL_ROLES).items() if name}
    return {"dataset": options.dataset, "files": entries, "columns": columns}


_ALL_ROLES = tuple(dict.fromkeys(formats.RATINGS_ROLES + formats.MOVIES_ROLES))


def _print_summary(out: Path, manifest: Manifest, user_ptr: np.ndarray, seconds: float) -> None:
    counts, parts = manifest.counts, manifest.split["counts"]
    print(f"{out}: {counts['users']:,} users, {counts['movies']:,} movies, {counts['ratings']:,} ratings")
    print(f"  {counts['duplicates_dropped']:,} duplicates dropped (the latest rating of a pair counts)")
    named = [name for place, name in enumerate(SPLIT_NAMES) if place <= TEST or parts[name]]
    print(f"  {manifest.split['protocol']} split: " + ", ".join(f"{name} {parts[name]:,}" for name in named))
    load = order.imbalance(user_ptr, manifest.shards)
    print(f"  {len(manifest.shards) - 1} shards ({manifest.order}), largest {load:.3f} times the mean; {seconds:.1f} s")
