"""The usual way to serve vectors: a FastAPI program around the Python call of implicit or FAISS.

    PEER=faiss ARRAYS=DIR uvicorn benchmarks.serve_peer:app --workers 2

It answers ``/recommend?user=ID&top=N`` from the arrays that ``gnnrec serve`` has converted, without rated movies, with
ids and titles. Tuned: orjson, uvloop and httptools, one thread of each library for each worker, vectors in memory, no
validation of answers, and no thread pool for the call, which takes less time than handing it over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from fastapi import FastAPI, HTTPException, Response
from threadpoolctl import threadpool_limits

from gnnrec.serving.snapshot import Snapshot

threadpool_limits(1)
snapshot = Snapshot(Path(os.environ["ARRAYS"]))
users = {str(snapshot.users[row]): row for row in range(len(snapshot.users))}
ids = [snapshot.movies.ids[row] for row in range(len(snapshot.movies))]
titles = [snapshot.movies.titles[row] for row in range(len(snapshot.movies))]
pointer, rated = np.array(snapshot.rated.user_ptr), np.array(snapshot.rated.movie)
# Biases of movies are a column more, as both libraries know nothing of them.
items = np.hstack([snapshot.scoring.movies, snapshot.scoring.bias[:, None]]).astype(np.float32)
app = FastAPI(openapi_url=None)


def vectors(rows: np.ndarray) -> np.ndarray:
    """Returns user vectors with 1 behind them, float32 ``[users, dim + 1]``."""
    blocks = [snapshot.user(row).vectors for row in rows.tolist()]
    return np.hstack([np.concatenate(blocks), np.ones((len(rows), 1), np.float32)])


def with_implicit() -> Any:
    """Returns the call of implicit."""
    import scipy.sparse
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=items.shape[1], num_threads=1)
    model.item_factors, model.user_factors = items, vectors(np.arange(len(users)))
    shape = len(users), len(items)
    matrix = scipy.sparse.csr_matrix((np.ones(len(rated), np.float32), rated, pointer), shape)
    return lambda row, top: model.recommend(row, matrix[row], N=top)


def with_faiss() -> Any:
    """Returns the call of FAISS with a flat index."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)

    def call(row: int, top: int) -> tuple[np.ndarray, np.ndarray]:
        own = rated[pointer[row] : pointer[row + 1]]
        scores, rows = index.search(vectors(np.array([row])), top + len(own))
        kept = ~np.isin(rows[0], own)
        return rows[0][kept][:top], scores[0][kept][:top]

    return call


call = {"implicit": with_implicit, "faiss": with_faiss}[os.environ["PEER"]]()


@app.get("/recommend")
async def recommend(user: str, top: int = 10) -> Response:
    """Answers a known user."""
    if user not in users:
        raise HTTPException(404, f"user {user} is unknown")
    rows, scores = call(users[user], top)
    movies = [
        {"movie": ids[row], "title": titles[row], "score": score} for row, score in zip(rows.tolist(), scores.tolist())
    ]
    return Response(orjson.dumps({"user": user, "movies": movies}), media_type="application/json")


@app.get("/ready")
async def ready() -> Response:
    """Answers once the vectors are in memory."""
    return Response(b"ok")
