"""Options of ``gnnrec prepare``."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Literal

from gnnrec.data import rating_scale, split
from gnnrec.data.column_options import MoviesFileOptions
from gnnrec.data.layout import as_number
from gnnrec.data.prepared import SPLIT_NAMES, UNUSED
from gnnrec.data.split_ranking import RANKING_OPTIONS
from gnnrec.errors import UserError
from gnnrec.utils.addresses import cache_directory
from gnnrec.utils.bounds import bounded, check_bounds
from gnnrec.utils.option_names import dashed

#: Share of the ratings held out for validation, unless the split is given.
DEFAULT_VALIDATION = 0.05
#: Gigabytes, of which the libraries take about a third.
LEAST_MEMORY = 1.0


@dataclasses.dataclass
class PrepareOptions(MoviesFileOptions):
    """Options of ``gnnrec prepare``.

    Args:
        dataset: MovieLens dataset to download: ml-latest-small, ml-100k, ml-1m, ml-10m, ml-20m, ml-25m or ml-32m.
            Give it, ratings or train_file.
        ratings: Ratings file (CSV with any delimiter, JSON records on lines, Parquet, or the layout of GroupLens,
            Kaggle, RecBole or the Netflix Prize; text may be gzipped), or many files: a directory or a pattern such as
            "log/part-*.parquet", which are read in the order of their names. Addresses that fsspec opens (https://,
            s3://) are copied to download_dir first.
        train_file: Ratings to train on, of a split of your own: like ratings. Give it instead of ratings.
        validation_file: Ratings for validation, of a split of your own; by default none, or the share validation of
            train_file if that option is set.
        test_file: Ratings for testing, of a split of your own; by default none.
        validation_input_file: With whole users held out for validation (Mult-VAE's validation_tr.csv): their ratings
            that the model sees. Those to be found are in validation_file.
        test_input_file: The same for testing (test_tr.csv).
        split_column: Column of the ratings file that names the split of each rating: train, validation or test, and
            with whole users held out validation_input or test_input.
        movies: File with titles and genres; by default the movies file next to ratings in a known layout, if any.
        movie_features: Files, directories or patterns with features of movies: CSV, Parquet, JSON records on lines, or
            vectors in NAME.npy with ids in NAME_ids.npy or NAME_ids.txt. They are joined by the movie id; by default
            none.
        user_features: The same for users.
        feature_types: Kinds of their columns: number, category, category:N (the first N letters), list (with | between
            categories), vector, date, text or drop, as in "age=number,zip=category:1"; user.NAME and movie.NAME tell
            columns of one name apart, and *=drop leaves out those that are not named. By default they are guessed.
        feature_dims: Most columns that a text, vector, list or category of features becomes.
        feature_count: Users or movies with training ratings that a category of features needs for a column of its own;
            rarer ones share one.
        unrated_movies: Keep the features of movies without ratings, so that exports have their vectors.
        ids: Raw ids: auto (integers if all of them are, else text; text if their column has that type) or text.
        implicit: Rank movies by views, clicks or purchases: no column of ratings is read, and the rating of a pair of
            user and movie is its number of rows.
        not_rated: Codes in the column of ratings that stand for "not rated", such as 99 or -1; their rows are left out.
        rating_scale: Lowest and highest possible rating; by default 0.5 to 5 or 1 to 5 for GroupLens layouts, else the
            lowest and highest rating in the file.
        protocol: Choice of held-out ratings: random (each rating on its own), temporal (each user's last ones) or
            global-time (the last ones of all users, from one time on); for ranking also strong (whole users, of whose
            relevant ratings a share is to be found) or leave-last (each user's last relevant rating for testing, the
            one before it for validation). cold-movies and cold-users hold out all ratings of whole movies or users,
            of which a model knows features alone.
        test: Share of the ratings held out for testing; with strong and cold-users, share of the users, with
            cold-movies, of the movies. Not used by leave-last, nor with a split of your own.
        validation: Share of the remaining ratings (users, movies) held out for validation. Not used by leave-last; by
            default 0.05, or 0 with a split of your own.
        relevant: Lowest rating of a movie that its user likes; strong and leave-last use no rating below it. none makes
            every rating relevant, as does implicit.
        least_relevant: Relevant ratings of a user below which strong leaves the user out.
        held_out: Share of a held-out user's relevant ratings that is to be found (strong).
        seed: Seed of the split and of the order of users.
        order: Order of users in shards: balanced (random, equal numbers of ratings) or metis (users who rated the same
            movies together; needs pymetis).
        shards: Contiguous ranges of users; the most ranks that can share the work.
        engine: Engine: memory (everything at once), stream (in bounded memory, through files next to the output; an
            interrupted run is resumed), dask (stream on the workers of a Dask cluster), or auto: memory for one file
            that fits, else stream. All give the same bytes.
        memory: Memory of stream, and of each worker of dask, in gigabytes; at least 1, or 0.
        workers: Threads of stream, or worker processes that dask starts here; by default one for each core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786; by default workers on this machine.
        scratch: Directory for intermediate files of stream and dask, about 40 bytes a rating, visible to all workers;
            by default a hidden directory next to the output.
        download_dir: Directory of downloaded datasets.
        overwrite: Replace the output directory if it exists.
        audit: Print what training ratings tell about held-out ones: of the same session, later, at the same time; and
            cold users and movies.
        dry_run: Print how the files are understood, judging by their first rows, and write nothing.
    """

    dataset: str | None = None
    ratings: Path | None = None
    train_file: Path | None = None
    validation_file: Path | None = None
    test_file: Path | None = None
    validation_input_file: Path | None = None
    test_input_file: Path | None = None
    split_column: str | None = None
    movies: Path | None = None
    movie_features: list[str] = dataclasses.field(default_factory=list)
    user_features: list[str] = dataclasses.field(default_factory=list)
    feature_types: str | None = None
    feature_dims: int = bounded(64, least=1)
    feature_count: int = bounded(5, least=1)
    unrated_movies: bool = True
    ids: Literal["auto", "text"] = "auto"
    implicit: bool = False
    not_rated: list[str] = dataclasses.field(default_factory=list)
    rating_scale: tuple[float, float] | str | None = None
    protocol: Literal["random", "temporal", "global-time", "strong", "leave-last", "cold-movies", "cold-users"] = (
        "random"
    )
    test: float = bounded(0.1, least=0, below=1)
    validation: float | None = bounded(None, least=0, below=1)
    relevant: float | Literal["none"] = 4.0
    least_relevant: int = bounded(5, least=1)
    held_out: float = bounded(0.2, above=0, below=1)
    seed: int = 0
    order: Literal["balanced", "metis"] = "balanced"
    shards: int = bounded(256, least=1)
    engine: Literal["auto", "memory", "stream", "dask"] = "auto"
    memory: float = bounded(0.0, least=0, meaning="half of what is free")
    workers: int | None = bounded(None, least=1)
    scheduler: str | None = None
    scratch: Path | None = None
    download_dir: Path = dataclasses.field(default_factory=cache_directory)
    overwrite: bool = False
    audit: bool = False
    dry_run: bool = False

    @property
    def given_split(self) -> bool:
        """The split is the user's own."""
        return self.train_file is not None or self.split_column is not None

    @property
    def split_protocol(self) -> str:
        """Name of the protocol (:data:`gnnrec.data.split.PROTOCOLS`)."""
        return "given" if self.given_split else self.protocol

    @property
    def validation_share(self) -> float:
        """Share of the ratings held out for validation; of a given split, of its train ratings."""
        if self.validation is not None:
            return self.validation
        return 0.0 if self.given_split else DEFAULT_VALIDATION

    @property
    def relevant_rating(self) -> float:
        """Lowest relevant rating; minus infinity if all ratings are relevant."""
        return -math.inf if self.relevant == "none" or self.implicit else float(self.relevant)

    @property
    def stores_relevant(self) -> bool:
        """The lowest relevant rating is a constant of the dataset, not an option of training."""
        return self.split_protocol in RANKING_OPTIONS or self.relevant_rating == -math.inf

    def _check_given_split(self) -> None:
        given = [dashed(f"{name}_file") for name in SPLIT_NAMES[1:UNUSED] if getattr(self, f"{name}_file") is not None]
        if given and self.train_file is None:
            raise UserError(f"{given[0]} needs the ratings to train on: pass them with --train-file")
        if self.train_file is not None and self.split_column:
            raise UserError("--train-file and --split-column both give a split: leave one of them out")
        if self.given_split and self.protocol != "random":
            raise UserError(f"--protocol {self.protocol} chooses a split, and the split is given: leave it out")

    def not_rated_codes(self) -> tuple[float, ...]:
        """The ratings that stand for "not rated".

        Raises:
            UserError: One is not a number.
        """
        codes = {code: as_number(code) for code in self.not_rated}
        for code, number in codes.items():
            if number is None or not math.isfinite(number):
                raise UserError(f"--not-rated {code}: must be a number, such as 99 or -1")
        return tuple(number for number in codes.values() if number is not None)

    def check(self) -> None:
        """Refuses values that cannot work.

        Raises:
            UserError: Names the option and what it may be.
        """
        if [self.dataset, self.ratings, self.train_file].count(None) != 2:
            raise UserError("give either --dataset NAME or --ratings FILE, or the files of a split with --train-file")
        self._check_given_split()
        check_bounds(self)
        if self.relevant != "none" and not isinstance(self.relevant, (int, float)):
            raise UserError(f"--relevant {self.relevant}: must be a number or none")
        validation = DEFAULT_VALIDATION if self.validation is None else self.validation
        if not self.given_split and self.test + validation >= 1:
            shares = f"--test {self.test:g} and --validation {validation:g}"
            raise UserError(f"{shares} leave nothing to train on: choose shares that add up to less than 1")
        if self.memory and self.memory < LEAST_MEMORY:
            raise UserError(f"--memory {self.memory:g}: must be at least {LEAST_MEMORY:g} gigabytes, or 0")
        if self.scheduler and self.engine != "dask":
            raise UserError("--scheduler needs --engine dask: add --engine dask or omit --scheduler")
        if self.order == "metis" and self.engine in ("stream", "dask"):
            raise UserError("--order metis needs all ratings in memory: choose balanced, or --engine memory")
        engines = ("auto", "memory", "stream", "dask")
        for name, choices in (("protocol", split.PROTOCOLS), ("order", ("balanced", "metis")), ("engine", engines)):
            if getattr(self, name) not in choices:
                raise UserError(f"--{name} {getattr(self, name)} is unknown: choose {' or '.join(choices)}")
        if self.implicit and (self.not_rated or self.rating_column or self.rating_scale):
            raise UserError("--implicit reads no ratings: leave out --rating-column, --rating-scale and --not-rated")
        self.not_rated_codes()
        rating_scale.parse(self.rating_scale)
