"""Options of ``gnnrec recommend``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from gnnrec.data.formats import RATINGS_ROLES
from gnnrec.errors import UserError
from gnnrec.inference.ratings_file import RatingsFile


@dataclasses.dataclass
class RecommendOptions:
    """Options of ``gnnrec recommend``: one of --user, --similar-to and --all.

    Args:
        user: Raw id of the user to recommend movies to.
        similar_to: Print the movies that are most like this one: a raw id, a title, or a beginning that only one title
            has.
        all: Recommend movies to all users, into Parquet files; on any number of ranks.
        top: Movies for a user.
        out: With --all, the directory to make. What an interrupted call left there is gone on with.
        genre: Only movies of one of these genres.
        min_year: Only movies of this year or later, by the year at the end of the title, as in Heat (1995).
        max_year: Only movies of this year or earlier.
        min_ratings: Only movies with at least so many ratings in the dataset.
        part_rows: With --all, users in a Parquet file.
        chunk: From a run, users whose ratings are in memory at a time.
        checkpoint: Of a run, best or last.
        ratings: The file of ratings whose users are meant, instead of those of the dataset: that of the export, or with
            a run any layout that gnnrec prepare reads.
        user_column: Column of the user ids in it (default: guessed from usual names).
        movie_column: Column of the movie ids (default: guessed).
        rating_column: Column of the ratings (default: guessed).
        timestamp_column: Column of the times (default: guessed; may be absent).
        data: Prepared dataset, where it has moved since training.
        device: auto, cpu or cuda.
        overwrite: With --all, replace recommendations of something else in the output directory.
    """

    user: str | None = None
    similar_to: str | None = None
    all: bool = False
    top: int = 10
    out: Path | None = None
    genre: list[str] = dataclasses.field(default_factory=list)
    min_year: int | None = None
    max_year: int | None = None
    min_ratings: int = 0
    part_rows: int = 10_000
    chunk: int = 65536
    checkpoint: Literal["best", "last"] = "best"
    ratings: Path | None = None
    user_column: str | None = None
    movie_column: str | None = None
    rating_column: str | None = None
    timestamp_column: str | None = None
    data: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    overwrite: bool = False

    @property
    def file(self) -> RatingsFile | None:
        """The ratings file, if any."""
        if self.ratings is None:
            return None
        columns = {role: getattr(self, f"{role}_column") for role in RATINGS_ROLES}
        return RatingsFile(self.ratings, columns)

    def check(self) -> None:
        """Checks the values of the options.

        Raises:
            UserError: An invalid combination or value; the message names the option.
        """
        if (self.user is not None) + (self.similar_to is not None) + self.all != 1:
            raise UserError("pass one of --user ID, --similar-to MOVIE and --all")
        if self.all and self.out is None:
            raise UserError("--all needs --out, the directory to make")
        if self.out is not None and not self.all:
            raise UserError("--out goes with --all")
        for name in ("top", "part_rows", "chunk"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: must be at least 1")
        if self.min_ratings < 0:
            raise UserError(f"--min-ratings {self.min_ratings}: must be 0 or more")
        if self.min_year is not None and self.max_year is not None and self.min_year > self.max_year:
            raise UserError(f"--min-year {self.min_year} is after --max-year {self.max_year}")
