"""Recall of a store's searches against exact search over the files of an export."""

from __future__ import annotations

import numpy as np

from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.store import Hit, NodeRows, VectorStore

#: Movies for each query, and users of the sample.
TOP, SAMPLE_USERS = 20, 1000
#: The search width is raised until the sample has this recall, or the store's widths are exhausted.
WANTED_RECALL = 0.99
#: Users of a search, and exact scores in memory at a time.
_QUERIES, _SCORES = 64, 16_000_000


def choose_width(store: VectorStore, source: ExportRows) -> tuple[float, int]:
    """Sets the store's search width to the lowest one with :data:`WANTED_RECALL`.

    Args:
        store: A store that holds the export.
        source: The export.

    Returns:
        The recall, and the number of users that it was measured with.
    """
    queries = source.sample_users(SAMPLE_USERS)
    best, found = ExactLists(queries, all_movies(source)), 0.0
    for width in store.widths:
        store.width = width
        found = best.recall(search(store, queries))
        if found >= WANTED_RECALL:
            break
    return found, len(queries)


def all_movies(source: ExportRows) -> NodeRows:
    """Reads all movies of an export that a store holds."""
    parts = [source.rows("movies", name) for _, kind, name in source.steps() if kind == "movies"]
    return NodeRows(
        "movies",
        [movie for part in parts for movie in part.ids],
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.bias for part in parts]),
        [title for part in parts for title in part.titles],
        [genres for part in parts for genres in part.genres],
    )


def search(store: VectorStore, queries: np.ndarray, genre: str | None = None) -> list[list[Hit]]:
    """Searches the best :data:`TOP` movies, some users at a time."""
    found: list[list[Hit]] = []
    for first in range(0, len(queries), _QUERIES):
        found += store.search(queries[first : first + _QUERIES], TOP, genre)
    return found


class ExactLists:
    """Lists of the movies with the highest exact scores.

    A movie belongs into a list if its score is at least the lowest of the :data:`TOP` highest ones: movies with equal
    scores are equally good.

    Args:
        queries: Stored vectors of users, float32 ``[users, dim]``.
        movies: All movies that the store holds.
        genre: Only the movies of this genre count.
    """

    def __init__(self, queries: np.ndarray, movies: NodeRows, genre: str | None = None):
        self._queries = queries.astype(np.float64)
        self._vectors = movies.vectors
        if genre is not None:
            self._vectors = movies.vectors[[genre in genres for genres in movies.genres]]
        ids = (row for row, genres in zip(movies.ids, movies.genres, strict=True) if genre is None or genre in genres)
        self._row_of = {movie: row for row, movie in enumerate(ids)}
        self._top = min(TOP, len(self._vectors))
        firsts = range(0, len(queries), _QUERIES) if self._top else ()
        lowest = [self._lowest(self._queries[first : first + _QUERIES]) for first in firsts]
        self._least = np.concatenate([np.zeros(0), *lowest])

    def _lowest(self, queries: np.ndarray) -> np.ndarray:
        """Returns the score of the last movie of each list, float64 ``[queries]``."""
        highest, size = np.zeros((len(queries), 0)), max(1, _SCORES // _QUERIES)
        for first in range(0, len(self._vectors), size):
            scores = queries @ self._vectors[first : first + size].astype(np.float64).T
            highest = np.hstack([highest, scores])
            if highest.shape[1] > self._top:
                highest = np.partition(highest, -self._top, 1)[:, -self._top :]
        return highest.min(1)

    def recall(self, lists: list[list[Hit]]) -> float:
        """Returns the share of places that are filled with movies that belong there, each counted once."""
        if not self._least.size:
            return 1.0
        hits = 0
        for query, least, listed in zip(self._queries, self._least, lists, strict=True):
            rows = list({self._row_of[hit.movie] for hit in listed[: self._top] if hit.movie in self._row_of})
            scores = self._vectors[rows].astype(np.float64) @ query
            hits += int((scores >= least - 1e-5 * abs(least)).sum())
        return hits / (self._top * len(lists))
