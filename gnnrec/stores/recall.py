"""Recall of a store's searches against exact search over the files of an export."""

from __future__ import annotations

import numpy as np

from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.store import NodeRows, VectorStore

#: Movies for each query, and users of the sample.
TOP, SAMPLE_USERS = 20, 1000
#: The search width is raised until the sample has this recall, or the store's widths are exhausted.
WANTED_RECALL = 0.99
#: Exact scores in memory at a time.
_SCORES = 16_000_000


def choose_width(store: VectorStore, source: ExportRows) -> tuple[float, int]:
    """Sets the store's search width to the lowest one with :data:`WANTED_RECALL`.

    Args:
        store: A store that holds the export.
        source: The export.

    Returns:
        The recall, and the number of users that it was measured with.
    """
    queries, movies = source.sample_users(SAMPLE_USERS), all_movies(source)
    found = 0.0
    for width in store.widths:
        store.width = width
        found = recall(store, queries, movies)
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


def recall(store: VectorStore, queries: np.ndarray, movies: NodeRows, genre: str | None = None) -> float:
    """Returns the share of places of the best lists that a store fills with movies that belong there.

    A movie belongs there if its exact score is at least the lowest of the ``TOP`` highest ones: movies with equal
    scores are equally good. A movie that is listed twice, or that has another genre, counts once or not at all.

    Args:
        store: The store.
        queries: Stored vectors of users, float32 ``[users, dim]``.
        movies: All movies that the store holds.
        genre: Search among the movies of this genre.
    """
    kept = np.array([genre is None or genre in genres for genres in movies.genres])
    vectors, ids = movies.vectors[kept].astype(np.float64), np.array(movies.ids, object)[kept]
    row_of = {movie: row for row, movie in enumerate(ids.tolist())}
    top = min(TOP, len(vectors))
    if not top:
        return 1.0
    hits, size = 0, max(1, min(64, _SCORES // len(vectors)))
    for first in range(0, len(queries), size):
        block = queries[first : first + size]
        scores = block.astype(np.float64) @ vectors.T
        lowest = np.partition(scores, -top, 1)[:, -top]
        for own, least, listed in zip(scores, lowest, store.search(block, top, genre), strict=True):
            rows = {row_of[hit.movie] for hit in listed if hit.movie in row_of}
            hits += sum(own[row] >= least - 1e-5 * abs(least) for row in rows)
    return float(hits / (top * len(queries)))
