"""Movies that pass the filters of a request, from mapped arrays."""

from __future__ import annotations

import dataclasses

import numpy as np

from gnnrec.serving.errors import RequestError
from gnnrec.serving.tables import Opener


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


class MovieFilters:
    """Filters of all movies.

    Args:
        opened: Opens an array by name.
        genres: Names of the genres, by code.
    """

    def __init__(self, opened: Opener, genres: list[str]):
        self.years, self.counts, self.cold = opened("years"), opened("counts"), opened("cold")
        self.genres, self._codes, self._pointer = genres, opened("genre_codes"), opened("genre_ptr")
        self._any_cold = bool(self.cold.any())

    def allowed(self, filters: Filters) -> np.ndarray | None:
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

    def _of_genres(self, wanted: tuple[str, ...]) -> np.ndarray:
        if not self.genres:
            raise RequestError(400, "genre: these movies have no genres, leave it out")
        codes = {name.casefold(): code for code, name in enumerate(self.genres)}
        for name in wanted:
            if name.casefold() not in codes:
                raise RequestError(400, f"genre {name}: no movie has it, choose among {', '.join(self.genres)}")
        chosen = np.zeros(len(self.genres) + 1, np.int64)
        chosen[[codes[name.casefold()] for name in wanted]] = 1
        hits = np.concatenate([[0], np.cumsum(chosen[self._codes])])
        return hits[self._pointer[1:]] > hits[self._pointer[:-1]]

    def _of_years(self, first: int | None, last: int | None) -> np.ndarray:
        if not (self.years >= 0).any():
            name = "max_year" if first is None else "min_year"
            raise RequestError(400, f"{name}: no title ends with a year such as (1995), leave it out")
        allowed = self.years >= max(first or 0, 0)
        return allowed if last is None else allowed & (self.years <= last)

    def genres_of(self, row: int) -> list[str]:
        """Returns the genres of a movie."""
        return [self.genres[code] for code in self._codes[self._pointer[row] : self._pointer[row + 1]].tolist()]
