"""An index of the movies, for catalogs too large to score every movie: made when an export is converted, and mapped.

Movies are divided into groups around centers, and a search looks through the groups whose centers fit the user best
(FAISS's ``IndexIVFFlat``). Unlike a graph it is mapped like the other arrays, so all workers share it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.inference.export_index import TOP, recall
from gnnrec.inference.movie_ranker import MovieRanker
from gnnrec.inference.scoring import Scoring

#: Up to so many movies one product with all of them is as fast, and exact.
FEW_MOVIES = 100_000
#: The fewest groups are searched with which sample users have this recall, so that others have 0.99.
WANTED_RECALL = 0.993
NAME = "index.faiss"
#: Most movies to ask an index for; longer lists are exact.
_MOST = 1000
#: Movies to ask an index for, in times of those that are expected to pass the filters, and the share that has to: the
#: recall of the groups that are searched is that of lists of all movies.
_MARGIN, _MOST_PASS = 1.25, 0.9
#: Movies of a group that its center is computed from, rounds of that, and sample users.
_POINTS, _ROUNDS, SAMPLE_USERS = 64, 8, 256


def write_index(scoring: Scoring, users: np.ndarray, directory: Path) -> dict[str, Any]:
    """Writes an index where there are many movies.

    Args:
        scoring: The movies.
        users: Vectors of sample users, float32 ``[users, dim]``.
        directory: Directory of the file to write.

    Returns:
        ``probes``, the number of groups to search, and the recall; nothing where there are few movies, where scores
        are no products, or where faiss is not installed.
    """
    if len(scoring.bias) <= FEW_MOVIES or scoring.head or not len(users):
        return {}
    try:
        import faiss
    except ImportError:
        return {}
    vectors = np.hstack([scoring.movies, scoring.bias[:, None]])
    groups = 2 ** round(math.log2(math.sqrt(len(vectors))))
    index: Any = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], groups, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = _ROUNDS, _POINTS, 1
    index.train(vectors[:: max(1, len(vectors) // (_POINTS * groups))])
    index.add(vectors)
    queries, found = np.hstack([users, np.ones((len(users), 1), np.float32)]), 0.0
    for probes in [probes for exponent in range(4, 16) for probes in (2**exponent, 3 * 2 ** (exponent - 1))]:
        index.nprobe = min(probes, groups)
        found = recall(index, vectors, queries)
        if index.nprobe == groups or found >= WANTED_RECALL:
            break
    faiss.write_index(index, str(directory / NAME))
    return {"probes": index.nprobe, f"recall@{TOP}": round(found, 4)}


class MovieIndex:
    """Finds movies with high scores for a user.

    Args:
        path: The file.
        probes: Groups to search.
    """

    def __init__(self, path: Path, probes: int):
        import faiss

        faiss.omp_set_num_threads(1)
        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        index.nprobe = probes
        self._index = index

    def serves(self, ranker: MovieRanker) -> bool:
        """Returns whether it has the scores of an order: all columns, and no hidden units."""
        first = ranker.order.first
        return not first.head and first.movies.shape[1] + 1 == self._index.d

    def near(
        self, vector: np.ndarray, count: int, left_out: np.ndarray, allowed: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Returns rows of the best movies, ascending, at least ``count``; None if it does not find so many.

        Args:
            vector: User vector, float32 ``[dim]``.
            count: Movies of the list.
            left_out: Rows of movies that are not in it.
            allowed: Movies that may be in it, bool ``[movies]``; None for all.
        """
        wanted = count + len(left_out)
        if allowed is not None:
            share = np.count_nonzero(allowed) / len(allowed)
            wanted = math.ceil(_MARGIN * wanted / share) if share >= _MOST_PASS else _MOST + 1
        if wanted > _MOST:
            return None
        _, rows = self._index.search(np.append(vector, np.float32(1))[None], wanted)
        rows = rows[0][rows[0] >= 0]
        rows = np.sort(rows[~np.isin(rows, left_out)])
        rows = rows if allowed is None else rows[allowed[rows]]
        return rows if len(rows) >= count else None


def open_index(directory: Path, entry: dict[str, Any]) -> MovieIndex | None:
    """Opens what :func:`write_index` wrote and returned; None where it wrote nothing, or where faiss is missing."""
    if not entry:
        return None
    try:
        return MovieIndex(directory / NAME, entry["probes"])
    except ImportError:
        return None
