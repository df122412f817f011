"""A FAISS index of all movies that finds the movies with the highest scores for a user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.export_parts import read_numbers

#: Reads the vectors of files, float32 ``[rows, dim]``.
VectorReader = Callable[[list[Path]], np.ndarray]
NAME = "movies.faiss"
QUERY = (
    "append 1 to user.embedding, as float32; the index returns rows of movies, and dot(user.embedding,"
    " movie.embedding) + movie.bias"
)
#: Up to this many movies the index is flat: exact, with queries below a millisecond.
FLAT_MOVIES = 50_000
#: The search is widened until it has this recall, or :data:`WIDTHS` is exhausted.
WANTED_RECALL = 0.99
#: HNSW parameters: M, efConstruction, and the values of efSearch to try.
LINKS, BUILD_WIDTH, WIDTHS = 32, 80, (64, 128, 256, 512, 1024)
#: Movies per query, users and parts in the sample on which recall is measured.
TOP, SAMPLE_USERS, SAMPLE_PARTS = 20, 1000, 8


def import_faiss() -> ModuleType:
    """Imports faiss.

    Raises:
        UserError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise UserError("--formats faiss needs the package faiss: pip install 'gnnrec[ann]'") from None
    return faiss


def write_index(users: list[Path], movies: list[Path], read: VectorReader, path: Path) -> None:
    """Writes an inner-product index of the movie vectors with the bias as an additional column.

    The index is flat for few movies. For many it is an HNSW graph (Malkov and Yashunin, "Efficient and robust
    approximate nearest neighbor search using hierarchical navigable small world graphs", TPAMI 2020), whose search
    width is chosen on sample users.

    Args:
        users: Parquet files of users.
        movies: Parquet files of movies.
        read: Reads the vectors of files.
        path: File to write.
    """
    faiss = import_faiss()
    vectors = _append_column(read(movies), _column(movies, "bias"))
    flat = len(vectors) <= FLAT_MOVIES
    dim = vectors.shape[1]
    index = faiss.IndexFlatIP(dim)
    if not flat:
        index = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_WIDTH
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # the graph depends on the order of insertion
    try:
        index.add(vectors)
    finally:
        faiss.omp_set_num_threads(threads)
    if not flat:
        queries = sample_queries(users, read)
        for width in WIDTHS:
            index.hnsw.efSearch = width
            if recall(index, vectors, queries) >= WANTED_RECALL:
                break
    path.write_bytes(faiss.serialize_index(index).data)


def describe_index(path: Path, users: list[Path], movies: list[Path], read: VectorReader) -> dict:
    """Returns the manifest entry of the index: its kind, how to query it, and its measured recall.

    Args:
        path: The index.
        users: Parquet files of users.
        movies: Parquet files of movies.
        read: Reads the vectors of files.
    """
    faiss = import_faiss()
    index, queries = open_index(path), sample_queries(users, read)
    vectors = _append_column(read(movies), _column(movies, "bias"))
    kind: dict[str, Any] = {"kind": "flat"}
    if isinstance(index, faiss.IndexHNSWFlat):
        kind = {"kind": "HNSW", "links": LINKS, "ef_search": index.hnsw.efSearch}
    return {
        "file": path.name,
        **kind,
        "metric": "inner product",
        "dim": vectors.shape[1],
        "movies": index.ntotal,
        "query": QUERY,
        f"recall@{TOP}": round(recall(index, vectors, queries), 4),
        "recall_users": len(queries),
    }


def open_index(path: Path) -> Any:
    """Reads an index.

    Raises:
        UserError: The file cannot be read, or faiss is not installed.
    """
    try:
        return import_faiss().read_index(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}): export again") from None


def recall(index: Any, vectors: np.ndarray, queries: np.ndarray) -> float:
    """Returns the share of retrieved movies whose scores are among the ``TOP`` highest of all movies.

    Movies with equal scores count as equally good (recall by distance, Aumueller et al., "ANN-Benchmarks",
    Information Systems 2020).

    Args:
        index: The index.
        vectors: All movies, float32 ``[movies, dim + 1]``.
        queries: Users, float32 ``[users, dim + 1]``.
    """
    top = min(TOP, len(vectors))
    _, rows = index.search(queries, top)
    hits = 0
    for first in range(0, len(queries), 64):
        scores = queries[first : first + 64] @ vectors.T
        lowest = np.partition(scores, -top, 1)[:, -top, None]
        retrieved = rows[first : first + 64]
        reached = np.take_along_axis(scores, np.maximum(retrieved, 0), 1) >= lowest - 1e-5 * np.abs(lowest)
        hits += int((reached & (retrieved >= 0)).sum())
    return hits / rows.size


def sample_queries(users: list[Path], read: VectorReader) -> np.ndarray:
    """Returns queries of users sampled evenly over the export, float32 ``[users, dim + 1]``."""
    step = max(1, -(-len(users) // SAMPLE_PARTS))
    samples = []
    for path in users[::step]:
        vectors = read([path])
        wanted = -(-SAMPLE_USERS // len(users[::step]))
        samples.append(vectors[:: max(1, -(-len(vectors) // wanted))])
    vectors = np.concatenate(samples)
    return np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])


def _append_column(vectors: np.ndarray, last: np.ndarray) -> np.ndarray:
    return np.hstack([vectors, last[:, None]])


def _column(paths: list[Path], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(values, np.float32) for values in read_numbers(paths, name)])
