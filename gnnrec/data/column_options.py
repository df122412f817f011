"""Options that name the columns of a ratings file, for all commands that read one."""

from __future__ import annotations

import dataclasses

from gnnrec.data.formats import RATINGS_ROLES


@dataclasses.dataclass(kw_only=True)
class ColumnOptions:
    """Columns of the ratings file.

    Args:
        user_column: Column of the user ids in the ratings file; by default guessed from usual names.
        movie_column: Column of the movie ids in the ratings file, and in the movies file where one is read; by default
            guessed.
        rating_column: Column of the ratings; by default guessed.
        timestamp_column: Column of the times, seconds since 1970 or YYYY-MM-DD HH:MM:SS; by default guessed, and may be
            absent.
    """

    user_column: str | None = None
    movie_column: str | None = None
    rating_column: str | None = None
    timestamp_column: str | None = None

    def named_columns(self, roles: tuple[str, ...] = RATINGS_ROLES) -> dict[str, str | None]:
        """Role -> column name; None is guessed.

        Args:
            roles: Roles of :mod:`gnnrec.data.formats`, each with an option ``{role}_column``.
        """
        return {role: getattr(self, f"{role}_column") for role in roles}
