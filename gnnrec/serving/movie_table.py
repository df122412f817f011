"""Movies of a snapshot: ids, titles, searches and filters, from mapped arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from gnnrec.serving.errors import RequestError, shortened
from gnnrec.serving.movie_filters import Filters, MovieFilters
from gnnrec.serving.tables import IdTable, Opener
from gnnrec.serving.title_table import TitleTable

#: Titles that the message about a title of several movies names.
_EXAMPLES = 4
#: Movies whose ids and titles are kept as objects of Python: the same ones are recommended again and again.
_NAMES = 20_000
#: Movies that are left out by their rows; more of them by a mask.
_FEW = 2_000
#: Filters, and lists of ids with filters, whose movies are kept.
_FILTERS, _LISTS = 16, 4


class MovieTable:
    """All movies.

    Args:
        opened: Opens an array by name.
        genres: Names of the genres, by code.

    Attributes:
        ids: Raw ids.
        titles: Titles.
        allowed: Returns the movies that pass filters (:meth:`gnnrec.serving.movie_filters.MovieFilters.allowed`).
        left_out: Returns the rows of movies that do not, int64; None if they are many.
    """

    def __init__(self, opened: Opener, genres: list[str]):
        self.ids, self.titles = IdTable.open(opened, "movie_ids"), TitleTable(opened)
        self._filters = MovieFilters(opened, genres)
        # Caches of methods of this table would be cycles: its mappings would stay until a garbage collection.
        self._named = lru_cache(maxsize=_NAMES)(partial(_name, self.ids, self.titles))
        self.allowed = lru_cache(maxsize=_FILTERS)(self._filters.allowed)
        self.left_out = lru_cache(maxsize=_FILTERS)(partial(_left_out, self.allowed))
        self._candidates = lru_cache(maxsize=_LISTS)(partial(_candidates, self.allowed, self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def candidates(self, filters: Filters, allow: tuple[str, ...], deny: tuple[str, ...]) -> np.ndarray:
        """Returns the movies that pass filters and lists of ids, a new array, bool ``[movies]``.

        Raises:
            RequestError: Unknown genres or ids.
        """
        return self._candidates(filters, allow, deny).copy()

    @property
    def cold(self) -> np.ndarray:
        """Movies without training ratings, bool ``[movies]``."""
        return self._filters.cold

    def raw_id(self, row: int) -> int | str:
        """Returns the raw id of a movie."""
        return self.ids[row]

    def row(self, name: str, movie: str) -> int:
        """Returns the row of a movie by raw id.

        Args:
            name: The parameter.
            movie: The id as text.

        Raises:
            RequestError: No movie has it.
        """
        return _row(self.ids, name, movie)

    def find(self, name: str, text: str) -> int:
        """Returns the row of a movie by raw id, title, or unique prefix of a title; case is ignored.

        Raises:
            RequestError: No movie or several movies match.
        """
        row = self.ids.find(text)
        if row is not None:
            return row
        rows = self.titles.named(text)
        if not len(rows):
            raise RequestError(404, f"{name} {shortened(text)}: no movie has this id or a title that begins with it")
        if len(rows) > 1:
            examples = "; ".join(f"{self.titles[row]} (id {self.ids[row]})" for row in rows[:_EXAMPLES].tolist())
            raise RequestError(
                404,
                f"{name} {shortened(text)}: {len(rows)} titles begin with it: {examples}: send more of it, or an id",
            )
        return int(rows[0])

    def genres_of(self, row: int) -> list[str]:
        """Returns the genres of a movie."""
        return self._filters.genres_of(row)

    @property
    def genres(self) -> list[str]:
        """Names of all genres."""
        return self._filters.genres

    def describe(self, row: int) -> dict:
        """Returns raw id and title."""
        movie, title = self._named(row)
        return {"movie": movie, "title": title}


def _name(ids: IdTable, titles: TitleTable, row: int) -> tuple[int | str, str]:
    return ids[row], titles[row]


def _row(ids: IdTable, name: str, movie: str) -> int:
    row = ids.find(movie)
    if row is None:
        examples = ", ".join(map(str, ids.examples()))
        raise RequestError(404, f"{name} {shortened(movie)}: no movie has this id (ids look like {examples})")
    return row


def _left_out(allowed: Callable[[Filters], np.ndarray | None], filters: Filters) -> np.ndarray | None:
    passing = allowed(filters)
    rows = np.empty(0, np.int64) if passing is None else np.flatnonzero(~passing)
    return rows if len(rows) <= _FEW else None


def _candidates(
    allowed: Callable[[Filters], np.ndarray | None],
    ids: IdTable,
    filters: Filters,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
) -> np.ndarray:
    passing = allowed(filters)
    chosen = np.ones(len(ids), bool) if passing is None else passing.copy()
    if allow:
        listed = np.zeros(len(ids), bool)
        listed[[_row(ids, "allow", movie) for movie in allow]] = True
        chosen &= listed
    if deny:
        chosen[[_row(ids, "deny", movie) for movie in deny]] = False
    return chosen
