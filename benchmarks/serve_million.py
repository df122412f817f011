"""Arrays of a million movies as ``gnnrec serve`` converts them, with vectors in groups as trained ones are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gnnrec.inference.export_directory import FORMAT, FORMAT_VERSION
from gnnrec.inference.scoring import Scoring
from gnnrec.serving import convert
from gnnrec.serving.index import SAMPLE_USERS, write_index
from gnnrec.serving.tables import IdTable, write_array
from gnnrec.serving.title_table import TitleTable

#: Groups of movies that are alike, and the share of a vector's length that is its own.
GROUPS, OWN = 2000, 0.5


def write_million(export: Path, movies: int, users: int, dim: int) -> Path:
    """Writes the manifest of an export, and its converted arrays beside it; returns these.

    Args:
        export: Directory of the export to make; it has no vectors of its own.
        movies: Movies.
        users: Users.
        dim: Columns of vectors.
    """
    export.mkdir(parents=True)
    rng = np.random.default_rng(0)
    spectrum = (1 / np.arange(1, dim + 1) ** 0.5).astype(np.float32)
    centers = rng.standard_normal((GROUPS, dim), dtype=np.float32) * spectrum

    def vectors(rows: int) -> np.ndarray:
        own = rng.standard_normal((rows, dim), dtype=np.float32) * spectrum
        return centers[rng.integers(0, GROUPS, rows)] * np.float32(1 - OWN) + own * np.float32(OWN)

    table, bias, people = vectors(movies), rng.standard_normal(movies, dtype=np.float32) * 0.1, vectors(users)
    manifest = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "users": users, "movies": movies, "dim": dim,
        "dtype": "float32", "offset": 0.0, "head": "dot", "model_fingerprint": "random", "dataset_fingerprint": "none",
        "data": "none", "identity": {}, "files": {},
    }  # fmt: skip
    (export / "manifest.json").write_text(json.dumps(manifest))
    place = convert.converted_path(export)
    place.mkdir(parents=True)
    arrays = {
        "movies": table, "movie_bias": bias, "users": people, "user_bias": np.zeros(users, np.float32),
        "cold": np.zeros(movies, bool), "years": np.full(movies, 2000, np.int32), "counts": np.ones(movies, np.int64),
        "genre_ptr": np.zeros(movies + 1, np.int64), "genre_codes": np.empty(0, np.int16),
        "rated.user_ptr": np.arange(users + 1) * 20,
        "rated.movie": np.sort(rng.integers(0, movies, (users, 20), dtype=np.int32), 1).reshape(-1),
        "rated.rating": np.full(users * 20, 4, np.float32), "rated.split": np.zeros(users * 20, np.uint8),
    }  # fmt: skip
    for name, array in arrays.items():
        write_array(place, name, array)
    titles = [f"movie {row:07d}" for row in range(movies)]
    TitleTable.write(place, titles, arrays["counts"])
    IdTable.write(place, "movie_ids", np.arange(movies))
    IdTable.write(place, "user_ids", np.arange(users))
    index = write_index(Scoring(table, bias, 0.0, None, {}), people[:SAMPLE_USERS], place)
    sizes = {path.name: path.stat().st_size for path in place.iterdir()}
    served = {"format": convert.FORMAT, "format_version": convert.FORMAT_VERSION, "export": manifest, "arrays": sizes}
    (place / convert.SERVED).write_text(json.dumps(served | {"genres": [], "place": str(export), "index": index}))
    return place
