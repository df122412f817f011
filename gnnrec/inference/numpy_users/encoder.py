"""Encodes users from ratings with the files in ``encoder/`` of an export, without torch, numba and pandas.

==========================  =================================================================================
``movie_bias.npy``          closed-form biases of movies, float32 ``[movies]``, standardized (rating models)
``messages-K.npy``          value and residual value of each movie in layer K, float32 ``[movies, 2, width]``
``sender_scale-K.npy``      factor of the rating embeddings of a movie's messages, float32 ``[movies]`` (gcn)
``logits-K.npy``            the movie's part of the logits, float32 ``[movies, heads]`` (gat)
``interest.npy``            message embeddings of interest, float32 ``[movies, columns]``
``liked.npy``               message embeddings of a ranking model, float32 ``[movies, columns]``
``following.npy``           those of the next movie, with order of likes
``tie_key.npy``             order of likes of one time, int64 ``[movies]``, with order of likes
``own_rows.npy``            with ``--own-rows``: rows of users, float32 ``[users, columns]``: the id embedding, and
                            the message embedding where vectors depend on it
``weights.npz``             the small arrays: weights of layers and of features, the rotation to a parent's vectors
==========================  =================================================================================

Arrays of movies have the rows of the dataset and can be mapped: only rows of rated movies are read. The entry
``encoder`` of the manifest has the numbers.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.numpy_users.layers import CONSTANT, FEATURES, OWN, RATINGS, UserLayer
from gnnrec.inference.numpy_users.parts import EncodedUser, OwnRows, UserParts, UserRatings
from gnnrec.inference.numpy_users.ranking_users import LikesInOrder, RankingUsers
from gnnrec.inference.numpy_users.rating_users import RatingUsers
from gnnrec.utils.stored import check_recorded

#: Directory of the files in an export, and the file of small arrays.
FOLDER, WEIGHTS = "encoder", "weights.npz"
#: Name of the table of users' own rows.
OWN_ROWS = "own_rows"
_AGAIN = "export again"


@dataclasses.dataclass(frozen=True)
class EncoderFiles:
    """Settings and arrays of an encoder.

    Attributes:
        settings: Entry ``encoder`` of the manifest.
        tables: Arrays of all movies, by the name of their file without ``.npy``.
        weights: Small arrays by name.
    """

    settings: dict[str, Any]
    tables: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]


class NumpyEncoder:
    """Encodes single users from their ratings.

    Args:
        files: Settings and arrays.

    Attributes:
        num_movies: Movies that may be rated: rows of movies that are not in the dataset follow those that are.
        rating_scale: Lowest and highest rating.
        splits: Splits of the dataset whose ratings its users are embedded from.
        feature_columns: Columns of the features of users; 0 without.
        takes_times: Vectors depend on the times of ratings.
        has_own_row: Users of training have rows of their own, which enter their vectors.
        needs_own_row: What a rating adds to their vectors depends on these rows, too.
        own_columns: Columns of vectors that rows and messages enter; the others are those of interest.
    """

    def __init__(self, files: EncoderFiles):
        settings = files.settings
        rating = settings["rating"]
        self.rating_scale: tuple[float, float] = (rating["min"], rating["max"])
        self.splits, self._counts = tuple(settings["splits"]), settings["counts"]
        self.rotation = files.weights.get("rotation")
        self._user_shift = settings.get("user_shift", 0.0)
        self.ratings: RatingUsers | None = None
        self.ranking: RankingUsers | None = None
        if settings["objective"] == "ranking":
            self.ranking = _ranking(files)
            self.num_movies = len(self.ranking.liked)
        else:
            self.ratings = _ratings(files)
            self.num_movies = len(self.ratings.movie_bias)
        missing = files.weights.get("features.missing")
        self.missing = None if missing is None else missing.astype(np.float64)
        self.feature_columns = 0 if missing is None else len(missing)
        self.takes_times = self.ranking is not None and self.ranking.order is not None
        own = settings.get("own_rows", [])
        self.has_own_row = bool(own)
        reading = self.ratings is not None and self.ratings.reads_own_row
        self.needs_own_row = "message_embedding" in own or (self.has_own_row and reading)
        self._own = files.tables.get(OWN_ROWS)
        self.own_columns = settings.get("dim", 0)

    @classmethod
    def open(cls, directory: Path, manifest: dict) -> NumpyEncoder:
        """Opens the encoder of an export, whose arrays are mapped.

        Args:
            directory: The export.
            manifest: Its manifest.

        Raises:
            UserError: The export has none, or a file is missing or damaged.
        """
        return cls(read_files(Path(directory), manifest))

    def encode(
        self,
        movie: np.ndarray,
        rating: np.ndarray,
        time: np.ndarray | None = None,
        x: np.ndarray | None = None,
        own: OwnRows | None = None,
    ) -> EncodedUser:
        """Encodes a user.

        Args:
            movie: Rows of rated movies, int ``[ratings]``; of a movie that is there twice the later rating counts, and
                of logs without ratings the sum.
            rating: In the unit of the dataset, float ``[ratings]``.
            time: Seconds since 1970, int ``[ratings]``; None if unknown.
            x: Features, float ``[columns]``; None for those of a user without values.
            own: Rows of a user that was in training; None for a new user.

        Raises:
            UserError: A row, rating or feature is none.
        """
        rated, x = self.rated(movie, rating, time), self._features(x)
        if self.ranking is not None:
            return EncodedUser(self._turned(self.ranking.parts(self.ranking.likes(rated)).sum(0)), self._user_shift)
        model, own = self._rating_model, own or OwnRows()
        state, norm = model.parts(rated, x, own, together=True)[0], None
        if model.interest is not None:
            interest, norm = model.interest_parts(rated)
            state = np.append(state, interest.sum(0))
        return EncodedUser(self._turned(state), model.bias(rated, x, own.bias) + self._user_shift, norm)

    def explained(
        self,
        movie: np.ndarray,
        rating: np.ndarray,
        time: np.ndarray | None = None,
        x: np.ndarray | None = None,
        own: OwnRows | None = None,
    ) -> UserParts:
        """Encodes a user as a sum; arguments and errors are those of :meth:`encode`."""
        rated, x = self.rated(movie, rating, time), self._features(x)
        if self.ranking is not None:
            likes = self.ranking.likes(rated)
            ratings = self._rotated(self.ranking.parts(likes))
            nothing = np.zeros(ratings.shape[1])
            return UserParts(likes, ratings, nothing, nothing, nothing, self._user_shift)
        model, own = self._rating_model, own or OwnRows()
        parts = model.parts(rated, x, own, together=False)
        if model.interest is not None:
            columns = np.zeros((len(parts), model.interest.shape[1]))
            columns[RATINGS:] = model.interest_parts(rated)[0]
            parts = np.concatenate([parts, columns], 1)
        parts = self._rotated(parts)
        bias = model.bias(rated, x, own.bias) + self._user_shift
        return UserParts(rated, parts[RATINGS:], parts[OWN], parts[FEATURES], parts[CONSTANT], bias)

    def bias_change(
        self,
        before: tuple[np.ndarray, np.ndarray, np.ndarray | None],
        after: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    ) -> float:
        """Computes by how much a user's bias changes with the ratings (movies, ratings and times)."""
        return 0.0 if self.ratings is None else self.ratings.bias_change(self.rated(*before), self.rated(*after))

    def own_rows(self, row: int) -> OwnRows | None:
        """Reads the rows of a user of the export, whose bias is among the biases of users; None if it has none."""
        if self._own is None:
            return None
        return OwnRows(*self._own[row].astype(np.float64).reshape(-1, self.own_columns))

    def rated(self, movie: np.ndarray, rating: np.ndarray, time: np.ndarray | None = None) -> UserRatings:
        """Checks ratings and sorts them by movie; arguments and errors are those of :meth:`encode`."""
        movie, rating = np.asarray(movie, np.int64).reshape(-1), np.asarray(rating, np.float64).reshape(-1)
        time = None if time is None else np.asarray(time, np.int64).reshape(-1)
        if len(movie) != len(rating) or (time is not None and len(time) != len(movie)):
            raise UserError(f"{len(movie)} movies have {len(rating)} ratings: give every movie one")
        if len(movie) and not 0 <= movie.min() <= movie.max() < self.num_movies:
            raise UserError(f"movie rows must be from 0 to {self.num_movies - 1}: {movie.min()} to {movie.max()}")
        low, high = self.rating_scale
        # Counts of a known user's further events may be above all of the dataset.
        wrong = rating[~((rating >= low) & (rating <= (np.finfo(np.float32).max if self._counts else high)))]
        if len(wrong):
            raise UserError(f"rating {wrong[0]:g} is not on the scale from {low:g} to {high:g}")
        order = np.argsort(movie, kind="stable") if time is None else np.lexsort((time, movie))
        movie, rating, time = movie[order], rating[order], None if time is None else time[order]
        last = np.append(movie[1:] != movie[:-1], True)[: len(movie)]
        if self._counts and not last.all():
            first = np.flatnonzero(np.append(True, last[:-1]))
            return UserRatings(movie[last], np.add.reduceat(rating, first), None if time is None else time[last])
        return UserRatings(movie[last], rating[last], None if time is None else time[last])

    @property
    def _rating_model(self) -> RatingUsers:
        assert self.ratings is not None
        return self.ratings

    def _features(self, x: np.ndarray | None) -> np.ndarray | None:
        if x is None or not self.feature_columns:
            return self.missing
        x = np.asarray(x, np.float64).reshape(-1)
        if len(x) != self.feature_columns or not np.isfinite(x).all():
            raise UserError(f"features of a user must be {self.feature_columns} finite numbers")
        return x

    def _rotated(self, parts: np.ndarray) -> np.ndarray:
        return parts if self.rotation is None else parts @ self.rotation.astype(np.float64)

    def _turned(self, vector: np.ndarray) -> np.ndarray:
        return self._rotated(vector).astype(np.float32)


def read_files(directory: Path, manifest: dict) -> EncoderFiles:
    """Maps the tables of an export and reads its small arrays.

    Args:
        directory: The export.
        manifest: Its manifest.

    Raises:
        UserError: The export cannot encode users, or a file is missing or damaged.
    """
    settings = manifest.get("encoder")
    if settings is None:
        raise UserError(
            f"{directory} has no files to encode users with, as exports of earlier versions and of layers of your own: "
            f"{_AGAIN}, or pass the run"
        )
    tables: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    for name, entry in manifest["files"].items():
        if not name.startswith(f"{FOLDER}/"):
            continue
        path = directory / name
        check_recorded(path, entry, _AGAIN, sums=False)
        try:
            if path.name == WEIGHTS:
                with np.load(path, allow_pickle=False) as arrays:
                    weights = {key: arrays[key] for key in arrays.files}
            else:
                tables[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): {_AGAIN}") from None
    return EncoderFiles(settings, tables, weights)


def _ratings(files: EncoderFiles) -> RatingUsers:
    settings, tables, weights = files.settings, files.tables, files.weights
    layers = []
    for number, layer in enumerate(settings["layers"]):
        own: dict[str, Any] = dict(layer)
        own |= {name.partition("-")[0]: table for name, table in tables.items() if name.endswith(f"-{number}")}
        prefix = f"layer{number}."
        own |= {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        layers.append(UserLayer(**own, first=number == 0))
    return RatingUsers(
        layers=tuple(layers),
        dim=settings["dim"],
        mean=settings["rating"]["mean"],
        std=settings["rating"]["std"],
        levels=np.array(settings["rating"]["levels"], np.float64),
        message_mean=settings["message_mean"],
        movie_bias=tables["movie_bias"],
        bias_shrinkage=settings["bias_shrinkage"],
        bias_multiple=settings["bias_multiple"],
        shrinkage=settings["shrinkage"],
        features={name.partition(".")[2]: array for name, array in weights.items() if name.startswith("features.")},
        interest=tables.get("interest"),
        interest_scale=settings.get("interest_scale", 1.0),
    )


def _ranking(files: EncoderFiles) -> RankingUsers:
    settings, tables, order = files.settings, files.tables, None
    if "order" in settings:
        order = LikesInOrder(tables["following"], tables["tie_key"], **settings["order"])
    return RankingUsers(tables["liked"], settings["relevant"], settings["count_confidence"], order)
