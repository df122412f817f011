"""Options that say how ratings files are read, for all commands that read one."""

from __future__ import annotations

import dataclasses

from gnnrec.data.layout import MOVIES_ROLES, RATINGS_ROLES


@dataclasses.dataclass(kw_only=True)
class ColumnOptions:
    """Columns of the ratings file.

    Args:
        columns: Names of all columns of a ratings file without a header, separated by commas and in their order, such
            as user,movie,rating,timestamp; - is a column that is not read. By default the first line has the names.
        user_column: Column of the user ids in the ratings file; by default guessed from usual names.
        movie_column: Column of the movie ids in the ratings file, and in the movies file where one is read; by default
            guessed.
        rating_column: Column of the ratings; by default guessed.
        timestamp_column: Column of the times: seconds, milliseconds, microseconds or nanoseconds since 1970 (told apart
            by their size), or dates and times in ISO 8601 such as YYYY-MM-DD HH:MM:SS, in UTC unless they have an
            offset; by default guessed, and may be absent.
    """

    columns: str | None = None
    user_column: str | None = None
    movie_column: str | None = None
    rating_column: str | None = None
    timestamp_column: str | None = None

    def named_columns(self, roles: tuple[str, ...] = RATINGS_ROLES) -> dict[str, str | None]:
        """Role -> column name, None is guessed; and ``columns`` -> all names of a file without a header.

        Args:
            roles: Roles of :mod:`gnnrec.data.layout`, each with an option ``{role}_column``.
        """
        return {role: getattr(self, f"{role}_column") for role in roles} | {"columns": self.columns}


@dataclasses.dataclass(kw_only=True)
class MoviesFileOptions(ColumnOptions):
    """Columns of the ratings file and of the movies file.

    Args:
        movies_columns: Names of all columns of a movies file without a header, such as movie,title,genres; - is a
            column that is not read. By default the first line has the names.
        title_column: Column of the titles in the movies file; by default guessed, and may be absent.
        genres_column: Column of the genres in the movies file; by default guessed, and may be absent.
    """

    movies_columns: str | None = None
    title_column: str | None = None
    genres_column: str | None = None

    def movies_names(self) -> dict[str, str | None]:
        """Names of the columns of the movies file, as :func:`gnnrec.data.formats.detect_layout` takes them."""
        return self.named_columns(MOVIES_ROLES) | {"columns": self.movies_columns}
