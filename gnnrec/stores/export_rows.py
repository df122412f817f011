"""Rows of an export or a delta as a store holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.same_dataset import check_same
from gnnrec.errors import UserError
from gnnrec.inference.export_directory import FORMAT, MANIFEST, NEW_MOVIES_FILE
from gnnrec.inference.export_parts import reading
from gnnrec.inference.export_sums import check_sums
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.delta import open_delta, removed_ids
from gnnrec.inference.generations.stored_rows import ID, Columns, StoredRows, read_columns, read_ids
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.stores.store import KINDS, Kind, NodeRows, StoreLayout
from gnnrec.utils.stored import irregularity, read_json

#: The reach of movies in squared lengths of the longest one.
_ROOM = 1.5


def reach_of(movies: np.ndarray) -> float:
    """Returns a squared length for :func:`evened`, with room for longer movies that deltas bring."""
    return _ROOM * float(_squares(movies).max(initial=0))


def evened(movies: np.ndarray, reach: float) -> np.ndarray:
    """Appends a column to movies that makes their lengths more equal.

    With inner products, few links of a graph lead to a movie that is shorter than others, and it is not found. The
    column adds half of what a movie's squared length is below ``reach``. All of it would make inner products those of a
    metric (Bachrach et al., "Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product
    Spaces", RecSys 2014), but then the longest movies, the best ones for many users, are far away from all others.

    Args:
        movies: float32 ``[movies, columns]``.
        reach: The squared length; movies that are longer have a 0.

    Returns:
        float32 ``[movies, columns + 1]``.
    """
    missing = np.maximum(reach - _squares(movies), 0)
    return np.hstack([movies, np.sqrt(missing / 2)[:, None].astype(np.float32)])


def _squares(vectors: np.ndarray) -> np.ndarray:
    """Returns the squared lengths of vectors, float64."""
    return np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)


class ExportRows:
    """An export or a delta, file by file.

    Args:
        directory: The export or delta.
        data: The prepared dataset with titles and genres; by default the one that an export records.
        new_movies: Whether movies without training ratings count.

    Attributes:
        is_delta: Whether it is a delta.
        data: The dataset; an empty path if it is unknown.
        new_movies: Whether movies without training ratings count.
        reach: Squared length of :func:`evened`, the same for all movies of a store; a load sets it.
        unknown: Movies read so far that the dataset does not have, and that have no title.

    Raises:
        UserError: It is incomplete, something else, has no inner product, or its dataset is missing.
    """

    def __init__(self, directory: Path, data: Path | None = None, new_movies: bool = False):
        self.directory, self.new_movies, self.unknown = Path(directory), new_movies, 0
        path = self.directory / MANIFEST
        advice = "pass an export or a delta"
        if irregularity(path) == "is missing":
            raise UserError(f"{directory} is not a complete export or delta (no {MANIFEST}): {advice}")
        self.is_delta = read_json(path, "run gnnrec export again").get("format") not in (None, FORMAT)
        self.stored = (
            open_delta(self.directory)
            if self.is_delta
            else StoredRows(self.directory, read_manifest(self.directory, advice))
        )
        manifest = self.stored.manifest
        if manifest["head"] != "dot":
            raise UserError(
                f"{directory} has an MLP head, whose scores are no inner products: no store can rank by them"
            )
        self.data = Path(data or manifest.get("data", ""))
        self.reach: float | None = None
        self._checked = False
        self._catalog: tuple[pd.Index, MovieCatalog] | None = None

    @property
    def generation(self) -> str:
        """Fingerprint of the export, or of the one that the delta leads to."""
        return self.stored.manifest["export"] if self.is_delta else self.stored.fingerprint

    @property
    def key(self) -> list[str | None]:
        """Kind and parent: with :attr:`generation`, equal for two sources with the same steps."""
        return ["delta", self.stored.manifest["parent"]] if self.is_delta else ["export", None]

    @property
    def offset(self) -> float:
        """The constant of all scores."""
        return self.stored.manifest["offset"]

    @property
    def layout(self) -> StoreLayout:
        """Types of the columns."""
        kinds: dict[Kind, Literal["integer", "string"]] = {}
        for kind in KINDS:
            (path, *_) = self.stored.files(kind)
            with reading(path):
                type_of_ids = pq.read_schema(path).field(ID[kind]).type
            is_integer = str(type_of_ids).startswith(("int", "uint"))
            kinds[kind] = "integer" if is_integer else "string"
        return StoreLayout(self.stored.manifest["dim"] + 2, kinds["users"], kinds["movies"])

    def check(self) -> None:
        """Checks the files, and that there are titles and genres.

        Raises:
            UserError: A file is damaged, or the dataset is missing.
        """
        if self._checked:
            return
        check_sums(self.directory, self.stored.manifest, ("users/", "movies/", "removed_", NEW_MOVIES_FILE))
        self._open_catalog()
        self._checked = True

    def steps(self) -> list[tuple[Literal["upsert", "remove"], Kind, str]]:
        """Lists the steps of a load: what to do, with which rows, and the file that has them."""
        found: list[tuple[Literal["upsert", "remove"], Kind, str]] = []
        for kind in ("movies", "users"):
            if self.is_delta:
                found.append(("remove", kind, f"removed_{kind}.parquet"))
            found += [("upsert", kind, str(path.relative_to(self.directory))) for path in self.stored.files(kind)]
        return found

    def removed(self, kind: Kind) -> list:
        """Reads the raw ids that a delta removes."""
        return removed_ids(self.stored, kind).tolist()

    def rows(self, kind: Kind, name: str) -> NodeRows:
        """Reads the rows of a file.

        Raises:
            UserError: The file cannot be read, or the dataset with titles and genres is missing.
        """
        path = self.directory / name
        ids, columns = read_ids([path], ID[kind]), read_columns(path)
        vectors, bias = self._vectors(path, columns)
        if kind == "users":
            further = np.tile(np.array([1, 0], np.float32), (len(ids), 1))
            return NodeRows(kind, ids.tolist(), np.hstack([vectors, further]), bias, [], [])
        assert self.reach is not None, "no load has set the reach"
        stored = evened(np.hstack([vectors, bias[:, None]]), self.reach)
        if not self.new_movies and "cold" in columns:
            kept = ~columns["cold"]
            ids, stored = ids[kept], stored[kept]
        titles, genres = self._describe(ids)
        return NodeRows(kind, ids.tolist(), stored, np.zeros(len(ids), np.float32), titles, genres)

    def find_reach(self) -> float:
        """Returns :func:`reach_of` all movies of an export."""
        reach = 0.0
        for path in self.stored.files("movies"):
            vectors, bias = self._vectors(path, read_columns(path))
            reach = max(reach, reach_of(np.hstack([vectors, bias[:, None]])))
        return reach

    def left_out(self, name: str) -> list:
        """Reads the raw ids of a file's movies without training ratings, unless these count too."""
        if self.new_movies:
            return []
        path = self.directory / name
        with reading(path):
            if "cold" not in pq.read_schema(path).names:
                return []
            table = pq.read_table(path, columns=["movie", "cold"])
        return table["movie"].filter(table["cold"]).to_pylist()

    def sample_users(self, count: int) -> np.ndarray:
        """Returns stored vectors of users spread evenly over the first files, float32 ``[at most count, dim]``."""
        paths = self.stored.files("users")[:8]
        wanted = -(-count // len(paths))
        parts = []
        for path in paths:
            vectors = self.rows("users", str(path.relative_to(self.directory))).vectors
            parts.append(vectors[:: max(1, -(-len(vectors) // wanted))][:wanted])
        return np.concatenate(parts)[:count]

    def _vectors(self, path: Path, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
        """Returns the vectors and biases of a file, checked."""
        vectors, bias = self.stored.vectors(columns), columns["bias"]
        if not (np.isfinite(vectors).all() and np.isfinite(bias).all()):
            raise UserError(f"{path} has NaN or infinite values: the model diverged, train it again")
        return vectors, bias

    def _describe(self, ids: pd.Index) -> tuple[list[str], list[list[str]]]:
        """Returns titles and genres of movies; empty ones for movies that the dataset does not have."""
        index, catalog = self._open_catalog()
        rows = index.get_indexer(ids)
        self.unknown += int((rows < 0).sum())
        titles = [catalog.titles[row] if row >= 0 else "" for row in rows]
        return titles, [catalog.genres[row] if row >= 0 else [] for row in rows]

    def _open_catalog(self) -> tuple[pd.Index, MovieCatalog]:
        """Opens the dataset; returns the raw ids of its movies too."""
        if self._catalog is None:
            if not self.data.is_dir():
                missing = f"{self.data}, the dataset of {self.directory}, does not exist" if self.data.name else (
                    f"{self.directory} does not say where its dataset is"
                )  # fmt: skip
                raise UserError(f"{missing}: pass the dataset with titles and genres with --data")
            dataset, new = PreparedDataset(self.data), None
            if not self.is_delta:  # a delta does not say which it has
                check_same(dataset, self.stored.manifest["dataset_fingerprint"], f"of {self.directory}")
            if NEW_MOVIES_FILE in self.stored.manifest["files"]:
                with reading(self.directory / NEW_MOVIES_FILE):
                    new = pq.read_table(self.directory / NEW_MOVIES_FILE)
                known = pc.is_in(new["movie"], value_set=dataset.table("movies")["movie"].combine_chunks())
                new = new.filter(pc.invert(known))  # a dataset that has grown since may have some of them
            catalog = MovieCatalog(dataset, new=new)
            self._catalog = pd.Index(catalog.movies.to_pandas()), catalog
        return self._catalog
