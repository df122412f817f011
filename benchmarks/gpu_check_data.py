"""Part of ``benchmarks.gpu_check`` that prepares random ratings of MovieLens 20M's size."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gpu_budget import MOVIES, RATINGS, USERS

#: Users, movies and ratings with ``--quick``.
TINY = (120, 60, 3000)


def data(place: Path, quick: bool) -> dict:
    """Writes random ratings with a long tail of movies, and prepares them into ``PLACE/data``."""
    from gnnrec.data.prepare import PrepareOptions, prepare

    began = time.perf_counter()
    users, movies, ratings = TINY if quick else (USERS, MOVIES, RATINGS)
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.integers(1, users + 1, ratings),
        "movie": 1 + (movies * rng.random(ratings) ** 2.2).astype(np.int64),
        "rating": rng.integers(1, 11, ratings) / 2,
        "timestamp": rng.integers(10**9, 14 * 10**8, ratings),
    }
    pq.write_table(pa.table(columns), place / "ratings.parquet")
    written = time.perf_counter()
    manifest = prepare(place / "data", PrepareOptions(ratings=place / "ratings.parquet", overwrite=True))
    prepared = time.perf_counter()
    return manifest.counts | {
        "write_seconds": round(written - began, 1),
        "prepare_seconds": round(prepared - written, 1),
    }
