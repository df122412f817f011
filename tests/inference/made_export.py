"""Artificial exports of whole numbers: scores are exact, and many are equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.utils.files import sha256
from tests.datasets import ratings_table

USERS, MOVIES, DIM = 40, 29, 5
GENRES = ["Drama", "Comedy|Drama", "", "Action|Comedy|Thriller"]
#: Rated everything, and everything but two movies.
SATED, NEARLY = 9001, 9002
#: Kind of export -> options of :func:`make_export`.
KINDS = {
    "float32": {},
    "float16": {"dtype": "float16"},
    "mlp": {"head": "mlp"},
    "ranking": {"scale": None},
    "one part": {"part_rows": 1000},
    "interest": {"interest": 3},
    "interest, mlp": {"interest": 3, "head": "mlp"},
}
#: Factor of interest in scores, a power of two.
SCALE = 2.0


def years(movies: int = MOVIES) -> list[int | None]:
    """Returns the year in each title; every tenth title has none."""
    return [None if number % 10 == 9 else 1980 + number for number in range(movies)]


def make_dataset(place: Path, ids: str = "numbers", titles: bool = True, movies: int = MOVIES) -> PreparedDataset:
    """Prepares ratings of users who rated some, all, and nearly all movies."""
    place.mkdir(parents=True, exist_ok=True)
    table = ratings_table(USERS - 2, movies, 400)
    movie = np.arange(movies) * 5 + 2
    for user, rated in ((SATED, movie), (NEARLY, np.delete(movie, [3, 17]))):
        rows = {"userId": user, "movieId": rated, "rating": 3.0, "timestamp": 1_000_000_000}
        table = pd.concat([table, pd.DataFrame(rows)])
    named = [f"Film {i}" + ("" if year is None else f" ({year})") for i, year in zip(movie, years())]
    titled = pd.DataFrame({"movieId": movie, "title": named})
    titled["genres"] = [GENRES[each % 4] for each in range(movies)]
    if ids == "strings":
        for frame, column, letter in ((table, "userId", "u"), (table, "movieId", "tt"), (titled, "movieId", "tt")):
            frame[column] = letter + frame[column].astype(str)
    table.to_csv(place / "ratings.csv", index=False)
    if titles:
        titled.to_csv(place / "movies.csv", index=False)
    prepare(place / "prepared", PrepareOptions(ratings=place / "ratings.csv", validation=0.1))
    return PreparedDataset(place / "prepared")


def make_export(
    dataset: PreparedDataset,
    out: Path,
    dtype: str = "float32",
    head: str = "dot",
    scale: tuple[float, float] | None = (-6.0, 9.0),
    part_rows: int = 7,
    seed: int = 0,
    first_bias: float = 1.0,
    interest: int = 0,
) -> Path:
    """Writes an export of small whole numbers in the format of docs/export.md, with so many columns of interest."""
    rng, dim = np.random.default_rng(seed), DIM + interest
    out.mkdir(parents=True)
    names = []
    for kind, ids in (("user", dataset.users["user"]), ("movie", dataset.movies["movie"])):
        (out / f"{kind}s").mkdir()
        vectors, bias = rng.integers(-2, 3, (len(ids), dim)), rng.integers(-2, 3, len(ids)).astype(np.float32)
        bias[0] = first_bias
        for first in range(0, len(ids), part_rows):
            rows = slice(first, first + part_rows)
            flat = pa.array(vectors[rows].reshape(-1).astype(dtype))
            embedding = pa.FixedSizeListArray.from_arrays(flat, dim)
            table = pa.table({kind: pa.array(ids[rows]), "embedding": embedding, "bias": bias[rows]})
            if interest and kind == "user":
                table = table.append_column("interest_norm", pa.array(np.ones(len(table), np.float32)))
            names.append(f"{kind}s/part-{first:010d}.parquet")
            pq.write_table(table, out / names[-1], row_group_size=4)
    if head == "mlp":
        shapes = {"user.weight": (3, DIM), "user.bias": (3,), "movie.weight": (3, DIM), "out.weight": (1, 3)}
        np.savez(out / "head.npz", **{name: rng.integers(-2, 3, shape) for name, shape in shapes.items()})
        names.append("head.npz")
    manifest = {
        "format": "gnnrec-export", "format_version": 3, "dim": dim, "dtype": dtype, "head": head, "offset": 1.0,
        "users": dataset.num_users, "movies": dataset.num_movies, "model_fingerprint": f"model {seed}",
        "dataset_fingerprint": dataset.fingerprint, "data": str(dataset.directory), "identity": {"model": "any"},
        "files": {name: {"bytes": (out / name).stat().st_size, "sha256": sha256(out / name)} for name in names},
    }  # fmt: skip
    if interest:
        manifest["interest"] = {"columns": [DIM, dim], "scale": SCALE}
    if scale is not None:
        manifest["rating_scale"] = list(scale)
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def read(out: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads vectors as float64, and biases."""
    table = pa.concat_tables(pq.read_table(path) for path in sorted((out / f"{kind}s").iterdir())).to_pandas()
    return np.stack(table["embedding"]).astype(np.float64), table["bias"].to_numpy(np.float64)


def interest_product(out: Path) -> np.ndarray:
    """Computes the products of the columns of interest, float64 ``[users, movies]``."""
    (users, _), (movies, _) = read(out, "user"), read(out, "movie")
    return users[:, DIM:] @ movies[:, DIM:].T


def all_scores(out: Path, clipped: bool = False) -> np.ndarray:
    """Computes the scores of the model itself for all pairs in float64, ``[users, movies]``."""
    manifest, (users, user_bias), (movies, movie_bias) = read_manifest(out), read(out, "user"), read(out, "movie")
    users, movies = users[:, :DIM], movies[:, :DIM]
    if manifest["head"] == "mlp":
        head = np.load(out / "head.npz")
        hidden = (users @ head["user.weight"].T + head["user.bias"])[:, None] + movies @ head["movie.weight"].T
        pairs = np.maximum(hidden, 0) @ head["out.weight"][0]
    else:
        pairs = users @ movies.T
    scores = manifest["offset"] + user_bias[:, None] + movie_bias + pairs
    return scores.clip(*manifest["rating_scale"]) if clipped and "rating_scale" in manifest else scores


def read_manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())


def expected(
    dataset: PreparedDataset, out: Path, top: int, allowed: np.ndarray | None = None, order_by: str | None = None
) -> pd.DataFrame:
    """Returns ``user``, ``rank``, ``movie``, ``score`` of all users by a stable sort of all scores.

    With interest and an order other than ``rating`` there is a column ``rating`` too.
    """
    scores, ratings = all_scores(out), all_scores(out, clipped=True)
    shown = ratings
    with_ratings = "interest" in read_manifest(out) and order_by != "rating"
    if with_ratings:
        product = interest_product(out)
        shown = scores = product / SCALE if order_by == "interest" else scores + product
    rows = []
    for user in range(dataset.num_users):
        rated = set(dataset.movie[dataset.user_ptr[user] : dataset.user_ptr[user + 1]].tolist())
        order = np.argsort(-scores[user], kind="stable")
        order = [each for each in order if each not in rated and (allowed is None or allowed[each])][:top]
        rows += [(user, rank, movie, shown[user, movie], ratings[user, movie]) for rank, movie in enumerate(order, 1)]
    frame = pd.DataFrame(rows, columns=["user", "rank", "movie", "score", "rating"])
    frame = frame if with_ratings else frame.drop(columns="rating")
    frame["user"] = dataset.users["user"].to_numpy()[frame["user"]]
    frame["movie"] = dataset.movies["movie"].to_numpy()[frame["movie"]]
    return frame
