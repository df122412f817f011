"""Movies and ratings of a prepared dataset, read without pandas and torch, which take long to import."""

from __future__ import annotations

import heapq
import re
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from gnnrec.data.arrow_numbers import numbers
from gnnrec.data.blocks import blocks
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from gnnrec.utils.whole_numbers import whole_number

if TYPE_CHECKING:
    from gnnrec.inference.new_users import NewUsers

#: The year at the end of a title: (1995), (1995-1998), (1995-).
_YEAR = re.compile(r"\((\d{4})\s*(?:[-\u2013]\s*(?:\d{4})?\s*)?\)\s*$")


class MovieCatalog:
    """Movies and the ratings that they have.

    Args:
        dataset: The prepared dataset.
        ratings: Users of a ratings file, which replace those of the dataset.
        new: ``row``, ``movie``, ``title`` and ``genres`` of movies that are not in the dataset, and whose rows follow;
            None for none.

    Attributes:
        new: The argument.
    """

    def __init__(self, dataset: PreparedDataset, ratings: NewUsers | None = None, new: pa.Table | None = None):
        self.dataset, self.ratings, self.new = dataset, dataset if ratings is None else ratings, new

    @property
    def place(self) -> str:
        """Path of the dataset."""
        return str(self.dataset.directory)

    @cached_property
    def movies(self) -> pa.Array:
        """Raw ids of all movies, in row order."""
        return self._table.column("movie").combine_chunks()

    def raw_id(self, row: int) -> int | str:
        """Returns the raw id of a movie."""
        return self.movies[row].as_py()

    @cached_property
    def titles(self) -> list[str]:
        """Titles of all movies."""
        return self._table.column("title").to_pylist()

    @cached_property
    def genres(self) -> list[list[str]]:
        """Genres of all movies."""
        return [[name for name in text.split("|") if name] for text in self._table.column("genres").to_pylist()]

    @cached_property
    def years(self) -> np.ndarray:
        """Years of all movies, int64, from the column ``year`` or else the titles; -1 if unknown."""
        if "year" in self._table.column_names:
            years = self._table.column("year").to_pylist()
            return np.array([-1 if year is None else int(year) for year in years], np.int64)
        matches = (_YEAR.search(title) for title in self.titles)
        return np.array([int(match[1]) if match else -1 for match in matches], np.int64)

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of ratings of each movie, int64."""
        self.dataset.check()
        return np.bincount(self.dataset.movie, minlength=len(self.movies))

    def unrated(self, splits: tuple[int, ...]) -> np.ndarray:
        """Returns the movies of the dataset without ratings in some of its splits, bool ``[movies]``."""
        self.dataset.check()
        unrated, movie = np.ones(self.dataset.num_movies, bool), self.dataset.movie
        for block in blocks(len(movie)):
            unrated[movie[block][np.isin(self.dataset.split[block], splits)]] = False
        return unrated

    @cached_property
    def users(self) -> pa.Array:
        """Raw ids of all users, in row order."""
        if self.ratings is not self.dataset:
            return pa.array(self.ratings.users["user"])
        return self.dataset.table("users").column("user").combine_chunks()

    def rated(self, row: int) -> np.ndarray:
        """Returns the movies that a user has rated, int32 rows, ascending."""
        return self.ratings.movie[self._edges(row)]

    def favorites(self, row: int, count: int) -> list[tuple[str, float]]:
        """Returns titles and ratings of a user's highest rated movies; ties are broken by row."""
        movies, ratings = self.rated(row), self.ratings.rating[self._edges(row)]
        highest = np.lexsort((movies, -ratings))[:count]
        return [(self.titles[movies[index]], float(ratings[index])) for index in highest]

    def _edges(self, row: int) -> slice:
        self.ratings.check(row, row + 1)
        return slice(int(self.ratings.user_ptr[row]), int(self.ratings.user_ptr[row + 1]))

    @cached_property
    def _table(self) -> pa.Table:
        table = self.dataset.table("movies")
        return table if self.new is None else pa.concat_tables([table, self.new], promote_options="permissive")


def find_id(ids: pa.Array | pa.ChunkedArray, text: str) -> int | None:
    """Returns the row of a raw id given as text; None if it is unknown.

    Args:
        ids: Whole numbers or strings.
        text: The id as the user typed it.
    """
    if not pa.types.is_integer(ids.type):
        from pyarrow import compute  # only strings need it, and it is slow to import

        row = compute.index(ids, pa.scalar(text, ids.type)).as_py()
        return None if row < 0 else row
    if (number := whole_number(text)) is None:
        return None
    matches = np.flatnonzero(numbers(ids) == number)
    return int(matches[0]) if len(matches) else None


def example_ids(ids: pa.Array | pa.ChunkedArray) -> str:
    """Returns the three lowest of the first thousand raw ids, for messages: numbers by value, strings by letter."""
    return ", ".join(map(str, heapq.nsmallest(3, ids.slice(0, 1000).to_pylist())))


def find_movie(catalog: MovieCatalog, text: str) -> int:
    """Returns the row of a movie, by raw id, title, or unique prefix of a title; case is ignored.

    Raises:
        UserError: No movie or several movies match.
    """
    row = find_id(catalog.movies, text)
    if row is not None:
        return row
    titles, wanted = [title.casefold() for title in catalog.titles], text.casefold().strip()
    matches = [row for row, title in enumerate(titles) if title == wanted]
    matches = matches or [row for row, title in enumerate(titles) if wanted and title.startswith(wanted)]
    if not matches:
        raise UserError(f"--similar-to {text}: no movie in {catalog.place} has this id or a title that begins with it")
    if len(matches) > 1:
        examples = "; ".join(f"{catalog.titles[row]} (id {catalog.movies[row].as_py()})" for row in matches[:4])
        more = "; ..." if len(matches) > 4 else ""
        raise UserError(
            f"--similar-to {text}: {len(matches)} titles begin with it: {examples}{more}: type more, or an id"
        )
    return matches[0]
