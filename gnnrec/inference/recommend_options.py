"""Options of ``gnnrec recommend``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.inference.list_order import OrderBy
from gnnrec.inference.source_options import SourceOptions
from gnnrec.utils.bounds import bounded, check_bounds


@dataclasses.dataclass
class RecommendOptions(SourceOptions):
    """Options of ``gnnrec recommend``: one of --user, --similar-to and --all.

    Args:
        user: Raw id of the user to recommend movies to.
        similar_to: Movie to print similar ones for: a raw id, a title, or the beginning of one title.
        all: Recommend movies to all users, into Parquet files, on any number of ranks.
        top: Movies for each user.
        order_by: Order of the movies: interest (how likely the user is to rate a movie at all), rating (the predicted
            rating) or both; by default both, where a rating run has interest.
        out: Directory to make, with --all, or an address that fsspec opens (s3://). An interrupted call is resumed.
        genre: Genres to recommend from; by default all.
        min_year: Earliest year of a movie, by the year at the end of its title as in Heat (1995); by default any.
        max_year: Latest year of a movie; by default any.
        min_ratings: Ratings in the dataset that a movie needs.
        new_movies: Include movies without training ratings, whose vectors come from their features alone.
        new_share: Share of the places of each list that new movies get, whatever their scores are: the best ones, in
            the order of scores; by default as many as their scores bring.
        why: With --user, split each score into parts that add up to it, and name so many of the user's ratings: those
            that change it most; 0 for no reasons.
        part_rows: Users in a Parquet file, with --all.
        overwrite: Replace other recommendations in the output directory, with --all.
    """

    user: str | None = None
    similar_to: str | None = None
    all: bool = False
    top: int = bounded(10, least=1)
    order_by: OrderBy | None = None
    out: Path | None = None
    genre: list[str] = dataclasses.field(default_factory=list)
    min_year: int | None = None
    max_year: int | None = None
    min_ratings: int = bounded(0, least=0)
    new_movies: bool = False
    new_share: float | None = bounded(None, least=0, most=1)
    why: int = bounded(0, least=0)
    part_rows: int = bounded(10_000, least=1)
    overwrite: bool = False

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
            raise UserError("--out is for --all: add that, or leave it out")
        check_bounds(self)
        if self.order_by is not None and self.similar_to is not None:
            raise UserError(f"--order-by {self.order_by} is for --user and --all: leave it out with --similar-to")
        if self.new_share is not None and (not self.new_movies or self.similar_to is not None):
            raise UserError(f"--new-share {self.new_share:g} is for lists with --new-movies: add that, or leave it out")
        if self.why and self.user is None:
            raise UserError(f"--why {self.why} is for one user: pass --user, or leave it out")
        if self.min_year is not None and self.max_year is not None and self.min_year > self.max_year:
            raise UserError(f"--min-year {self.min_year} is after --max-year {self.max_year}")
