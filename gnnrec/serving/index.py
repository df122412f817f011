"""The index of an export (``gnnrec export --formats faiss``), for catalogs too large to score every movie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.inference.export_index import NAME
from gnnrec.inference.movie_ranker import MovieRanker
from gnnrec.inference.scoring import Scoring

#: Up to so many movies one product with all of them is as fast, and exact.
FEW_MOVIES = 100_000
#: The search is so much wider than the export found necessary for a recall of 0.98.
WIDER = 2
#: Most movies to ask an index for; longer lists are exact.
_MOST = 1000


class MovieIndex:
    """Finds movies with high scores for a user.

    Args:
        index: The index of faiss, over the vectors of movies with their biases behind them.
        width: Search width of a graph.
    """

    def __init__(self, index: Any, width: int):
        self._index, self._width = index, width

    def serves(self, ranker: MovieRanker) -> bool:
        """Returns whether it has the scores of an order: all columns, and no hidden units."""
        first = ranker.order.first
        return not first.head and first.movies.shape[1] + 1 == self._index.d

    def near(self, vector: np.ndarray, count: int, left_out: np.ndarray) -> np.ndarray | None:
        """Returns rows of the best movies, ascending, at least ``count``; None if it does not find so many.

        Args:
            vector: User vector, float32 ``[dim]``.
            count: Movies of the list.
            left_out: Rows of movies that are not in it.
        """
        wanted = count + len(left_out)
        if wanted > _MOST:
            return None
        if self._width:
            self._index.hnsw.efSearch = max(self._width, wanted)
        _, rows = self._index.search(np.append(vector, np.float32(1))[None], wanted)
        rows = rows[0][rows[0] >= 0]
        rows = np.sort(rows[~np.isin(rows, left_out)])
        return rows if len(rows) >= count else None


def open_index(directory: Path, manifest: dict[str, Any], scoring: Scoring) -> MovieIndex | None:
    """Opens the index of a converted export; None where it has none, where faiss is missing, or for few movies."""
    if NAME not in manifest["files"] or len(scoring.bias) <= FEW_MOVIES or "index" not in manifest:
        return None
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(directory / NAME))
    return MovieIndex(index, WIDER * int(manifest["index"].get("ef_search", 0)))
