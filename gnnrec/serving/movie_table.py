"""Movies of a snapshot: titles, searches and filters, from mapped arrays."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np

from gnnrec.serving.errors import RequestError
from gnnrec.serving.tables import IdTable, Opener, TextTable, first_place

#: Titles that the message about a title of several movies names.
_EXAMPLES = 4
#: Movies whose ids and titles are kept as objects of Python: the same ones are recommended again and again.
_NAMES = 20_000
#: Movies that are left out by their rows; more of them by a mask.
_FEW = 2_000


@dataclasses.dataclass(frozen=True)
class Filters:
    """Movies that may be recommended, as in :class:`gnnrec.inference.recommend_options.RecommendOptions`.

    Attributes:
        genre: Genres; empty for all.
        min_year: Earliest year; None for any.
        max_year: Latest year; None for any.
        min_ratings: Ratings that a movie needs.
        new_movies: Whether movies without training ratings are included.
    """

    genre: tuple[str, ...] = ()
    min_year: int | None = None
    max_year: int | None = None
    min_ratings: int = 0
    new_movies: bool = False


class MovieTable:
    """All movies.

    Args:
        opened: Opens an array by name.
        genres: Names of the genres, by code.
    """

    def __init__(self, opened: Opener, genres: list[str]):
        self.ids, self.titles = IdTable.open(opened, "movie_ids"), TextTable.open(opened, "titles")
        self.years, self.counts, self.cold = opened("years"), opened("counts"), opened("cold")
        self._genres, self._codes, self._pointer = genres, opened("genre_codes"), opened("genre_ptr")
        self._folded, self._order = TextTable.open(opened, "folded_titles"), opened("title_order")
        self._any_cold = bool(self.cold.any())
        self._named = lru_cache(maxsize=_NAMES)(lambda row: (self.ids[row], self.titles[row]))
        self.allowed, self.left_out = lru_cache(maxsize=16)(self._allowed), lru_cache(maxsize=16)(self._left_out)

    def __len__(self) -> int:
        return len(self.ids)

    def _allowed(self, filters: Filters) -> np.ndarray | None:
        """Returns the movies that pass all filters, bool ``[movies]``; None if nothing is filtered.

        Raises:
            RequestError: No movie has the genre, or no title has a year.
        """
        masks = []
        if not filters.new_movies and self._any_cold:
            masks.append(~self.cold)
        if filters.genre:
            masks.append(self._of_genres(filters.genre))
        if filters.min_year is not None or filters.max_year is not None:
            masks.append(self._of_years(filters.min_year, filters.max_year))
        if filters.min_ratings:
            masks.append(self.counts >= filters.min_ratings)
        return np.logical_and.reduce(masks) if masks else None

    def _left_out(self, filters: Filters) -> np.ndarray | None:
        """Returns the rows of movies that do not pass all filters, int64; None if they are many.

        Errors are those of :meth:`_allowed`.
        """
        allowed = self.allowed(filters)
        rows = np.empty(0, np.int64) if allowed is None else np.flatnonzero(~allowed)
        return rows if len(rows) <= _FEW else None

    def _of_genres(self, wanted: tuple[str, ...]) -> np.ndarray:
        if not self._genres:
            raise RequestError(400, "genre: these movies have no genres, leave it out")
        codes = {name.casefold(): code for code, name in enumerate(self._genres)}
        for name in wanted:
            if name.casefold() not in codes:
                raise RequestError(400, f"genre {name}: no movie has it, choose among {', '.join(self._genres)}")
        chosen = np.zeros(len(self._genres) + 1, np.int64)
        chosen[[codes[name.casefold()] for name in wanted]] = 1
        hits = np.concatenate([[0], np.cumsum(chosen[self._codes])])
        return hits[self._pointer[1:]] > hits[self._pointer[:-1]]

    def _of_years(self, first: int | None, last: int | None) -> np.ndarray:
        if not (self.years >= 0).any():
            name = "max_year" if first is None else "min_year"
            raise RequestError(400, f"{name}: no title ends with a year such as (1995), leave it out")
        allowed = self.years >= max(first or 0, 0)
        return allowed if last is None else allowed & (self.years <= last)

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
        row = self.ids.find(movie)
        if row is None:
            examples = ", ".join(map(str, self.ids.examples()))
            raise RequestError(404, f"{name} {_short(movie)}: no movie has this id (ids look like {examples})")
        return row

    def find(self, name: str, text: str) -> int:
        """Returns the row of a movie by raw id, title, or unique prefix of a title; case is ignored.

        Raises:
            RequestError: No movie or several movies match.
        """
        row = self.ids.find(text)
        if row is not None:
            return row
        wanted = text.casefold().strip().replace("\n", " ")
        rows = self._beginning_with(wanted)
        exact = [row for row in rows if self._folded[row] == wanted + "\n"]
        rows = exact or rows
        if not rows:
            raise RequestError(404, f"{name} {_short(text)}: no movie has this id or a title that begins with it")
        if len(rows) > 1:
            examples = "; ".join(f"{self.titles[row]} (id {self.ids[row]})" for row in rows[:_EXAMPLES])
            raise RequestError(
                404, f"{name} {_short(text)}: {len(rows)} titles begin with it: {examples}: send more of it, or an id"
            )
        return rows[0]

    def _beginning_with(self, prefix: str) -> list[int]:
        """Returns the rows of titles that begin with a text, ascending; none for an empty text."""
        key, order = prefix.encode("utf-8", "surrogatepass"), self._order
        if not key:
            return []
        first = first_place(len(order), lambda place: self._folded.encoded(order[place])[:-1] >= key)
        end = first_place(len(order), lambda place: self._folded.encoded(order[place])[: len(key)] > key)
        return sorted(order[first:end].tolist())

    def search(self, text: str, count: int) -> list[int]:
        """Returns the most rated movies whose titles have a text in them; case is ignored.

        Args:
            text: The text, not empty.
            count: Most movies.
        """
        wanted = text.casefold().strip().replace("\n", " ").encode("utf-8", "surrogatepass")
        content, found, place = self._folded.text.tobytes(), [], -1
        ends = self._folded.pointer
        while wanted and (place := content.find(wanted, place + 1)) >= 0:
            row = int(np.searchsorted(ends, place, side="right")) - 1
            found.append(row)
            place = int(ends[row + 1]) - 1
        rows = np.array(found, np.int64)
        return rows[np.argsort(-self.counts[rows], kind="stable")[:count]].tolist()

    def genres_of(self, row: int) -> list[str]:
        """Returns the genres of a movie."""
        return [self._genres[code] for code in self._codes[self._pointer[row] : self._pointer[row + 1]].tolist()]

    @property
    def genres(self) -> list[str]:
        """Names of all genres."""
        return self._genres

    def describe(self, row: int) -> dict:
        """Returns raw id and title."""
        movie, title = self._named(row)
        return {"movie": movie, "title": title}


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
