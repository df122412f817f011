"""Options of ``gnnrec prepare --append``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from gnnrec.data.column_options import MoviesFileOptions


@dataclasses.dataclass
class AppendOptions(MoviesFileOptions):
    """Options of ``gnnrec prepare --append``. Columns that are not named are those that the dataset was prepared with.

    Args:
        append: Ratings files, directories or patterns, in any format that gnnrec prepare reads.
        movies: File with titles and genres, which replace those of the movies that it lists; by default the movies file
            next to a ratings file in a known layout, if any.
        movie_features: Files, directories or patterns with features of movies, with the columns that the dataset was
            prepared with; by default new movies have no values.
        user_features: The same for users.
        split_column: With a split of your own, the column that names the split of each rating; by default all are train
            ratings.
        again: Append files that were appended before, and ratings that are all older than the newest one of the
            dataset.
    """

    append: list[str] = dataclasses.field(default_factory=list)
    movies: Path | None = None
    movie_features: list[str] = dataclasses.field(default_factory=list)
    user_features: list[str] = dataclasses.field(default_factory=list)
    split_column: str | None = None
    again: bool = False

    def with_columns(self, stored: dict[str, str]) -> AppendOptions:
        """Fills in names of columns from ``source`` of the manifest, unless some of a ratings file are given."""
        of_ratings = ("columns", "user_column", "movie_column", "rating_column", "timestamp_column")
        of_movies = ("movies_columns", "title_column", "genres_column")
        values: dict[str, Any] = {}
        for names in (of_ratings, of_movies):
            if all(getattr(self, name) is None for name in names):
                values |= {name: stored[name] for name in names if name in stored}
        return dataclasses.replace(self, **values)
