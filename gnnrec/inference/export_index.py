"""A FAISS index of all movies, in which users find the movies with their highest scores."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.export_parts import read_numbers

NAME = "movies.faiss"
QUERY = (
    "append 1 to user.embedding, as float32: rows of movies come back, and dot(user.embedding, movie.embedding)"
    " + movie.bias"
)
#: Up to so many movies all of them are compared: it is exact, and a query takes less than a millisecond.
FLAT_MOVIES = 50_000
#: Recall that the search is made wide enough for, where that is possible.
WANTED_RECALL = 0.98
#: Neighbours of a movie in the graph, candidates while it is built, and how wide a search may be.
LINKS, BUILD_WIDTH, WIDTHS = 32, 80, (64, 128, 256, 512, 1024)
#: How recall is measured.
TOP, SAMPLE_USERS, SAMPLE_PARTS = 20, 1000, 8


def import_faiss() -> ModuleType:
    """The package.

    Raises:
        UserError: It is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise UserError("faiss is not installed, which --formats faiss needs: pip install 'gnnrec[ann]'") from None
    return faiss


def write_index(users: list[Path], movies: list[Path], dim: int, path: Path) -> None:
    """Writes an index of inner products over the movie vectors with their biases as one more column.

    Few movies are compared one by one. Many are the nodes of an HNSW graph (Malkov and Yashunin, "Efficient and robust
    approximate nearest neighbor search using hierarchical navigable small world graphs", TPAMI 2020), whose searches
    are made as wide as sample users need.

    Args:
        users: Parquet files of users.
        movies: Parquet files of movies.
        dim: Width of a vector.
        path: Where to write.
    """
    faiss = import_faiss()
    vectors = _with(movies, _column(movies, "bias"), dim)
    flat = len(vectors) <= FLAT_MOVIES
    index = faiss.IndexFlatIP(dim + 1)
    if not flat:
        index = faiss.IndexHNSWFlat(dim + 1, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_WIDTH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # the graph depends on the order in which movies come
    try:
        index.add(vectors)
    finally:
        faiss.omp_set_num_threads(threads)
    if not flat:
        queries = sample_queries(users, dim)
        for width in WIDTHS:
            index.hnsw.efSearch = width
            if recall(index, vectors, queries) >= WANTED_RECALL:
                break
    path.write_bytes(faiss.serialize_index(index).data)


def describe_index(path: Path, users: list[Path], movies: list[Path], dim: int) -> dict:
    """What a manifest says of the index: its kind, how to ask it, and its recall, measured here and now.

    Args:
        path: The index.
        users: Parquet files of users.
        movies: Parquet files of movies.
        dim: Width of a vector.
    """
    faiss = import_faiss()
    index, queries = open_index(path), sample_queries(users, dim)
    vectors = _with(movies, _column(movies, "bias"), dim)
    kind: dict[str, Any] = {"kind": "flat"}
    if isinstance(index, faiss.IndexHNSWFlat):
        kind = {"kind": "HNSW", "links": LINKS, "ef_search": index.hnsw.efSearch}
    return {
        "file": path.name,
        **kind,
        "metric": "inner product",
        "dim": dim + 1,
        "movies": index.ntotal,
        "query": QUERY,
        f"recall@{TOP}": round(recall(index, vectors, queries), 4),
        "recall_users": len(queries),
    }


def open_index(path: Path) -> Any:
    """The index in a file.

    Raises:
        UserError: It cannot be read, or faiss is not installed.
    """
    try:
        return import_faiss().read_index(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}): export again") from None


def recall(index: Any, vectors: np.ndarray, queries: np.ndarray) -> float:
    """Share of the movies found whose scores are among the ``TOP`` highest, against all scores.

    Movies of equal scores are as good as each other (the recall by distance of Aumueller et al., "ANN-Benchmarks",
    Information Systems 2020).

    Args:
        index: The index.
        vectors: All movies, float32 ``[movies, dim + 1]``.
        queries: Users, float32 ``[users, dim + 1]``.
    """
    top = min(TOP, len(vectors))
    _, rows = index.search(queries, top)
    found = 0
    for first in range(0, len(queries), 64):
        scores = queries[first : first + 64] @ vectors.T
        lowest = np.partition(scores, -top, 1)[:, -top, None]
        some = rows[first : first + 64]
        reached = np.take_along_axis(scores, np.maximum(some, 0), 1) >= lowest - 1e-5 * np.abs(lowest)
        found += int((reached & (some >= 0)).sum())
    return found / rows.size


def sample_queries(users: list[Path], dim: int) -> np.ndarray:
    """Some users from all over the export as queries, float32 ``[users, dim + 1]``."""
    step = max(1, -(-len(users) // SAMPLE_PARTS))
    found = []
    for path in users[::step]:
        vectors = _vectors([path], dim)
        wanted = -(-SAMPLE_USERS // len(users[::step]))
        found.append(vectors[:: max(1, -(-len(vectors) // wanted))])
    vectors = np.concatenate(found)
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])


def _with(paths: list[Path], last: np.ndarray, dim: int) -> np.ndarray:
    return np.hstack([_vectors(paths, dim), last[:, None]])


def _vectors(paths: list[Path], dim: int) -> np.ndarray:
    return _column(paths, "embedding").reshape(-1, dim)


def _column(paths: list[Path], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(some, np.float32) for some in read_numbers(paths, name)])
