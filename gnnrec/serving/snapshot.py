"""One converted export, open: everything that a request needs, in mapped arrays that never change."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.list_order import OrderBy, list_order
from gnnrec.inference.movie_ranker import MovieRanker
from gnnrec.inference.numpy_users.encoder import NumpyEncoder
from gnnrec.inference.score_bounds import ScoreBounds
from gnnrec.inference.scoring import Scoring, interest_entries
from gnnrec.inference.vector_source import UserBlock
from gnnrec.serving.convert import BOUNDS, FEATURES, FORMAT_VERSION, SERVED, TURN, is_converted
from gnnrec.serving.errors import RequestError, shortened
from gnnrec.serving.index import MovieIndex, open_index
from gnnrec.serving.movie_table import MovieTable
from gnnrec.serving.tables import IdTable, map_array
from gnnrec.utils.stored import read_json


@dataclasses.dataclass(frozen=True)
class StoredRatings:
    """Ratings of the known users, with the names of :class:`gnnrec.data.prepared.PreparedDataset`.

    Attributes:
        user_ptr, movie, rating, split, timestamp: As in a prepared dataset.
    """

    user_ptr: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    split: np.ndarray
    timestamp: np.ndarray | None = None

    def check(self, first: int = 0, end: int | None = None) -> None:
        """Does nothing: the ratings were checked when they were converted."""

    def of(self, row: int) -> slice:
        """Returns the ratings of a user."""
        return slice(int(self.user_ptr[row]), int(self.user_ptr[row + 1]))


class Snapshot:
    """A converted export.

    Args:
        directory: Result of :func:`gnnrec.serving.convert.convert`.

    Attributes:
        manifest: Manifest of the export.
        generation: Name of the export in answers.
        movies: The movies.
        rated: Ratings of known users.
        scoring: Movies and weights that score pairs.

    Raises:
        UserError: It is incomplete or damaged.
    """

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        if not is_converted(self.directory):
            raise UserError(f"{self.directory} is incomplete: remove it and start again")
        served = read_json(self.directory / SERVED, f"remove {self.directory} and start again")
        if served.get("format_version") != FORMAT_VERSION:
            raise UserError(f"{self.directory} is of another version: remove it and start again")
        self.manifest: dict[str, Any] = served["export"]
        self.place, self.generation = served["place"], self.directory.name[:12]
        self._index: dict[str, Any] = served["index"]
        self._arrays: dict[str, int] = served["arrays"]
        self.movies = MovieTable(self._map, served["genres"])
        self.users = IdTable.open(self._map, "user_ids")
        self._vectors, self._bias = self._map("users"), self._map("user_bias")
        names = [field.name for field in dataclasses.fields(StoredRatings)]
        stored = {name: f"rated.{name}" for name in names if f"rated.{name}.npy" in self._arrays}
        self.rated = StoredRatings(**{name: self._map(file) for name, file in stored.items()})
        self.scoring = self._scoring()
        # All arrays are open from now on: the directory may be removed while the snapshot answers.
        self._features = self._map(FEATURES) if f"{FEATURES}.npy" in self._arrays else None
        bounded = f"{BOUNDS}.npy" in self._arrays
        self._bounds = ScoreBounds(self._map(TURN), self._map(BOUNDS)) if bounded else None
        self._rankers: dict[OrderBy | None, MovieRanker] = {}

    def _map(self, name: str) -> np.ndarray:
        return map_array(self.directory, name)

    def _scoring(self) -> Scoring:
        scale = self.manifest.get("rating_scale")
        prefix = "head."
        names = [name.removesuffix(".npy") for name in self._arrays if name.startswith(prefix)]
        head = {name.removeprefix(prefix): self._map(name) for name in names}
        vectors, bias = self._map("movies"), self._map("movie_bias")
        interest = interest_entries(self.manifest)
        return Scoring(vectors, bias, self.manifest["offset"], tuple(scale) if scale else None, head, *interest)

    @property
    def mapped_bytes(self) -> int:
        """Size of all arrays."""
        return sum(self._arrays.values())

    @cached_property
    def encoder(self) -> NumpyEncoder | None:
        """Encoder of new users; None where the export has none."""
        return None if self.manifest.get("encoder") is None else NumpyEncoder.open(self.directory, self.manifest)

    def user_features(self, row: int) -> np.ndarray | None:
        """Returns the features of a known user, float32 ``[columns]``; None without."""
        return None if self._features is None else self._features[row]

    @cached_property
    def index(self) -> MovieIndex | None:
        """Index of the movies; None where they are so few that it gains nothing, or faiss is missing."""
        return open_index(self.directory, self._index)

    @cached_property
    def own(self) -> Scoring:
        """Scores of the model itself."""
        return self.scoring.own()

    @cached_property
    def lengths(self) -> np.ndarray:
        """Lengths of the movie vectors of the model itself, float32 ``[movies]``."""
        return np.linalg.norm(self.own.movies, axis=1)

    def ranker(self, order_by: OrderBy | None) -> MovieRanker:
        """Returns the movies in one order.

        Raises:
            RequestError: The movies have no such order.
        """
        if order_by not in self._rankers:
            try:
                order = list_order(self.scoring, order_by)
                bounds = self._bounds if order.first.movies.shape[1] == self.scoring.movies.shape[1] else None
                self._rankers[order_by] = MovieRanker(order, bounds)
            except UserError as error:
                text = str(error).replace("--order-by", "order_by").replace("option", "parameter")
                raise RequestError(400, text) from None
        return self._rankers[order_by]

    def find_user(self, user: str) -> int:
        """Returns the row of a known user.

        Raises:
            RequestError: No user has this id.
        """
        row = self.users.find(user)
        if row is None:
            examples = ", ".join(map(str, self.users.examples()))
            raise RequestError(404, f"user {shortened(user)}: no user has this id (ids look like {examples})")
        return row

    def user(self, row: int) -> UserBlock:
        """Returns a known user."""
        rows = slice(row, row + 1)
        return UserBlock(None, self._vectors[rows].astype(np.float32), self._bias[rows])

    def warm(self) -> None:
        """Reads what every request needs, so that the first one is as fast as others."""
        ranker = self.ranker(None)
        _ = self.index, self.encoder, self.lengths
        if len(self.users) and len(self.movies):
            user = self.user(0)
            ranker.lists(user, np.ones(len(self.movies), bool), min(10, len(self.movies)))
