"""Options of ``gnnrec prepare``."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Literal

from gnnrec.data import formats, rating_scale, split
from gnnrec.errors import UserError

#: Gigabytes; the libraries use about a third of them.
LEAST_MEMORY = 1.0


def cache_directory() -> Path:
    """Returns ``$XDG_CACHE_HOME/gnnrec``, or ``~/.cache/gnnrec``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnnrec"


@dataclasses.dataclass
class PrepareOptions:
    """Options of ``gnnrec prepare``.

    Args:
        dataset: Name of a MovieLens dataset to download: ml-latest-small, ml-1m, ml-10m, ml-20m, ml-25m or ml-32m.
            Give this or ratings.
        ratings: A ratings file (GroupLens or Kaggle layout, any CSV also gzipped, or Parquet), or many: a directory or
            a pattern such as "log/part-*.parquet", of which the files are taken in the order of their names.
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
        engine: memory (everything at once), stream (in bounded memory, through files beside the output; an interrupted
            run goes on where it was), dask (the same on the workers of a Dask cluster), or auto: memory for one file
            that fits, else stream. The result is the same, byte for byte.
        memory: Gigabytes that stream may take, and each worker of dask; at least 1; 0 takes half of what is free.
        workers: Threads of stream, or worker processes that dask starts here. By default one for each core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786 (default: workers on this machine).
        scratch: Where stream and dask keep files in between, about 40 bytes a rating; all workers must see it
            (default: a hidden directory beside the output).
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
    engine: Literal["auto", "memory", "stream", "dask"] = "auto"
    memory: float = 0.0
    workers: int | None = None
    scheduler: str | None = None
    scratch: Path | None = None
    download_dir: Path = dataclasses.field(default_factory=cache_directory)
    overwrite: bool = False


def check_options(options: PrepareOptions) -> None:
    """Raises a :class:`UserError` for invalid options."""
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
    if options.memory and options.memory < LEAST_MEMORY:
        raise UserError(f"--memory {options.memory:g} is too little: choose at least {LEAST_MEMORY:g} gigabytes, or 0")
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers} is too few: choose at least 1")
    if options.scheduler and options.engine != "dask":
        raise UserError("--scheduler needs --engine dask: add --engine dask or omit --scheduler")
    if options.order == "metis" and options.engine in ("stream", "dask"):
        raise UserError("--order metis needs all ratings in memory: choose balanced, or --engine memory")
    engines = ("auto", "memory", "stream", "dask")
    for name, choices in (("protocol", split.PROTOCOLS), ("order", ("balanced", "metis")), ("engine", engines)):
        if getattr(options, name) not in choices:
            raise UserError(f"--{name} {getattr(options, name)} is unknown: choose {' or '.join(choices)}")
    rating_scale.parse(options.rating_scale)


ALL_ROLES = tuple(dict.fromkeys(formats.RATINGS_ROLES + formats.MOVIES_ROLES))


def named_columns(options: PrepareOptions, roles: tuple[str, ...] = ALL_ROLES) -> dict[str, str | None]:
    """Maps each role to the column name given by option, or None."""
    return {role: getattr(options, f"{role}_column") for role in roles}
