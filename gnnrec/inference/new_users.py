"""Users from files of ratings and of features: users that were not in training, and training users with further
ratings."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gnnrec.data import check, edges, formats, locate
from gnnrec.data.features.new_nodes import encode_new_nodes, missing_values
from gnnrec.data.features.read_table import find_files
from gnnrec.data.layout import ID_ROLES, RATINGS_ROLES, Layout
from gnnrec.data.pairs import IdIndex
from gnnrec.data.prepared import SPLIT_NAMES, TRAIN, Manifest, PreparedDataset
from gnnrec.data.read import read_ratings
from gnnrec.errors import UserError
from gnnrec.utils import files


@dataclasses.dataclass
class NewUsers:
    """Users of files, in the shape of a :class:`~gnnrec.data.prepared.PreparedDataset`.

    Attributes:
        directory: The ratings file, or else the first one with features.
        manifest: Counts, the dataset's rating levels and scale, one shard.
        users: ``row`` and ``user`` (raw id).
        movies: Movies of the dataset.
        user_ptr, movie, rating, split, timestamp: As in a prepared dataset; all ratings are in the train split.
        known_row: Row of each user in the dataset, -1 for new users: int64 ``[users]``.
        unknown_movies: Number of movies of the file that are not in the dataset.
        unknown_ratings: Number of their ratings, which are left out.
        fingerprint: SHA-256 of the files.
        x: Features, float32 ``[users, columns]``, of which those of known users are not used; None if the dataset has
            no features of users.
        with_features: Number of new users that have features.
    """

    directory: Path
    manifest: Manifest
    users: pd.DataFrame
    movies: pd.DataFrame
    user_ptr: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    split: np.ndarray
    timestamp: np.ndarray | None
    known_row: np.ndarray
    unknown_movies: int
    unknown_ratings: int
    fingerprint: str
    x: np.ndarray | None = None
    with_features: int = 0

    @property
    def num_users(self) -> int:
        return len(self.known_row)

    @property
    def num_movies(self) -> int:
        return len(self.movies)

    @property
    def num_ratings(self) -> int:
        return len(self.movie)

    def check(self, first: int = 0, end: int | None = None) -> None:
        """Does nothing: the ratings were checked when the file was read."""

    def report(self) -> str:
        """Summarizes the file in one line."""
        known = int((self.known_row >= 0).sum())
        text = f"{self.directory}: {self.num_users - known:,} new users and {known:,} known ones"
        if self.unknown_ratings:
            text += f"; {self.unknown_ratings:,} ratings of {self.unknown_movies:,} unknown movies are left out"
        if self.with_features:
            unrated = int((self.user_ptr[1:] == self.user_ptr[:-1]).sum())
            text += f"; {self.with_features:,} new ones with features, {unrated:,} users without ratings"
        return text

    @property
    def cold(self) -> np.ndarray:
        """Users without ratings, bool ``[users]``."""
        return np.diff(self.user_ptr) == 0


@dataclasses.dataclass(frozen=True)
class _Rated:
    """Ratings of a file.

    Attributes:
        layout: Layout of the file; None without a file.
        raw: Raw ids of the users, int64 or strings.
        user: Position of the user of each rating in ``raw``.
        movie: Row of the movie of each rating in the dataset, -1 for unknown ones.
        rating: float32 ``[ratings]``.
        timestamp: int64 ``[ratings]``; None without times.
        unknown_movies: Number of movies that are not in the dataset.
    """

    layout: Layout | None
    raw: np.ndarray
    user: np.ndarray
    movie: np.ndarray
    rating: np.ndarray
    timestamp: np.ndarray | None
    unknown_movies: int = 0


def read_new_users(
    path: Path | None,
    columns: dict[str, str | None],
    dataset: PreparedDataset,
    splits: tuple[int, ...],
    features: tuple[str, ...] = (),
) -> NewUsers:
    """Reads ratings in any layout that ``gnnrec prepare`` reads, in the same way as it read those of the dataset.

    A known user also keeps the ratings in the dataset; a new rating of the same movie replaces the old one. Of logs
    without ratings, the events in the dataset and in the file are counted; with times only those of the file that are
    later than the last one in the dataset, which has the others. Users of the files of features follow those of the
    ratings; known users keep the features that they have in the dataset.

    Args:
        path: The ratings; None for users with features alone.
        columns: Role (``user``, ``movie``, ``rating``, ``timestamp``) -> name of its column; None is guessed.
        dataset: The dataset that the model was trained on.
        splits: Splits of the dataset from which known users keep their ratings.
        features: Files of features of users, with the columns of those that the dataset was prepared with.

    Raises:
        UserError: A malformed file, a rating off the scale, or no movie of the dataset.
    """
    users_index = IdIndex(pa.array(dataset.users["user"]))
    file = _rated(path, columns, dataset, users_index)
    raw, x, with_features = _with_features(file.raw, dataset, users_index, features, columns.get("user"))
    known_row = users_index.rows_of(raw)
    user, movie, rating, time = _known_ratings(known_row, dataset, splits)
    number_known = len(user)
    if file.timestamp is None or dataset.timestamp is None:
        time = None
    user, movie = np.append(user, file.user), np.append(movie, file.movie)
    rating = np.append(rating, file.rating)
    time = None if time is None else np.append(time, file.timestamp)
    in_dataset = np.flatnonzero(movie >= 0)
    # The latest rating of a pair counts; without times the last one, which is the new one.
    times = None if time is None else time[in_dataset]
    pair, value = (user[in_dataset], movie[in_dataset]), rating[in_dataset]
    implicit = file.layout is not None and file.layout.implicit
    if implicit and times is not None:
        value = _uncounted(*pair, value, times, number_known)
    kept = edges.sort_edges(*pair, times)[0]
    order = in_dataset[kept]
    value = edges.sum_by_pair(*pair, kept, value) if implicit else value[kept]
    paths = [*([] if file.layout is None else [file.layout.path]), *find_files(features, "user")]
    sums = [files.sha256(each) for each in paths]
    return NewUsers(
        directory=paths[0],
        manifest=_manifest(dataset, len(known_row), len(order)),
        users=pd.DataFrame({"row": np.arange(len(known_row)), "user": raw}),
        movies=dataset.movies,
        user_ptr=edges.row_pointers(user[order], len(known_row)),
        movie=movie[order].astype(np.int32),
        rating=value.astype(np.float32),
        split=np.full(len(order), TRAIN, np.uint8),
        timestamp=None if time is None else time[order],
        known_row=known_row,
        unknown_movies=file.unknown_movies,
        unknown_ratings=int((file.movie < 0).sum()),
        fingerprint=sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest(),
        x=x,
        with_features=with_features,
    )


def _rated(path: Path | None, columns: dict[str, str | None], dataset: PreparedDataset, users_index: IdIndex) -> _Rated:
    """Reads and checks the ratings file, if there is one."""
    if path is None:
        raw = np.zeros(0, np.int64 if users_index.has_integers else object)
        nothing = np.zeros(0, np.int64)
        times = None if dataset.timestamp is None else nothing
        return _Rated(None, raw, nothing, nothing, np.zeros(0, np.float32), times)
    movies_index = IdIndex(pa.array(dataset.movies["movie"]))
    text_ids = frozenset(role for role, index in zip(ID_ROLES, (users_index, movies_index)) if not index.has_integers)
    layout = _layout(path, columns, dataset, text_ids)
    ratings = read_ratings([layout], least_users=1, may_be_mixed=True)
    scale = dataset.manifest.rating
    if ratings.rating.min() < scale["min"] or ratings.rating.max() > scale["max"]:
        check.raise_first_error(layout, scale=(scale["min"], scale["max"]))
    rows = movies_index.rows_of(ratings.movie.raw)
    if not (rows >= 0).any():
        example = dataset.movies["movie"].iloc[0]
        raise UserError(
            f"{layout.path}: none of its movies is in the dataset (ids in the dataset look like {example}, in the file "
            f"like {ratings.movie.raw[0]}): use the movie ids that the model was trained on"
        )
    movie, unknown = rows[ratings.movie.codes], int((rows < 0).sum())
    return _Rated(layout, ratings.user.raw, ratings.user.codes, movie, ratings.rating, ratings.timestamp, unknown)


def _with_features(
    raw: np.ndarray, dataset: PreparedDataset, users_index: IdIndex, paths: tuple[str, ...], id_name: str | None
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Appends the users of files of features; returns ids, features and the number of new users that have them."""
    features = dataset.features("user")
    if features is None:
        if paths:
            raise UserError(
                f"--user-features {paths[0]}: {dataset.directory} has no features of users: prepare it with "
                "--user-features, and train again"
            )
        return raw, None, 0
    if not paths:
        return raw, np.tile(missing_values(features), (len(raw), 1)), 0
    new = encode_new_nodes(features, paths, text_ids=not users_index.has_integers, id_name=id_name)
    ids = new.ids.to_numpy() if users_index.has_integers else np.array(new.ids.to_pylist(), object)
    others = ids[IdIndex(pa.array(raw)).rows_of(ids) < 0] if len(raw) else ids
    if raw.dtype != others.dtype:
        raw, others = (values.astype(str).astype(object) for values in (raw, others))
    raw = np.append(raw, others)
    row = IdIndex(new.ids).rows_of(raw)
    x = np.where((row >= 0)[:, None], new.x[np.maximum(row, 0)], missing_values(features))
    return raw, x, int(((row >= 0) & (users_index.rows_of(raw) < 0)).sum())


def _uncounted(user: np.ndarray, movie: np.ndarray, value: np.ndarray, time: np.ndarray, known: int) -> np.ndarray:
    """Sets the values of events of a file to 0 that the dataset has counted already.

    Args:
        user: int ``[ratings]``, those of the dataset first.
        movie: int ``[ratings]``, movie rows.
        value: float ``[ratings]``.
        time: int64 ``[ratings]``.
        known: Number of ratings of the dataset, of different pairs.
    """
    if not known:
        return value
    pairs = user.astype(np.int64) * (int(movie.max()) + 1) + movie
    order = np.argsort(pairs[:known])
    place = order[np.searchsorted(pairs[:known], pairs, sorter=order).clip(max=known - 1)]
    counted = (pairs[place] == pairs) & (time <= time[place])
    counted[:known] = False
    return np.where(counted, 0, value)


def _layout(path: Path, columns: dict[str, str | None], dataset: PreparedDataset, text_ids: frozenset[str]) -> Layout:
    """The layout of the file, with the ids and ratings of the dataset's kind."""
    source = dataset.manifest.source
    implicit = source.get("implicit", False)
    roles = tuple(role for role in RATINGS_ROLES if role != "rating" or not implicit)
    layout = formats.detect_layout(locate.locate_ratings(path), roles, columns)
    not_rated = tuple(source.get("not_rated", ()))
    return dataclasses.replace(layout, text_ids=text_ids, implicit=implicit, not_rated=not_rated)


def _known_ratings(
    known_row: np.ndarray, dataset: PreparedDataset, splits: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns user (position in ``known_row``), movie, rating and time of the known users' ratings in the dataset."""
    known = np.flatnonzero(known_row >= 0)
    for row in known_row[known].tolist():
        dataset.check(row, row + 1)
    starts, stops = dataset.user_ptr[known_row[known]], dataset.user_ptr[known_row[known] + 1]
    count = stops - starts
    ends = np.cumsum(count)
    edge = np.repeat(starts - (ends - count), count) + np.arange(ends[-1] if len(ends) else 0)
    edge, user = edge.astype(np.int64), np.repeat(known, count)
    kept = np.isin(dataset.split[edge], splits)
    edge, user = edge[kept], user[kept]
    time = None if dataset.timestamp is None else np.asarray(dataset.timestamp[edge])
    return user, np.asarray(dataset.movie[edge]), np.asarray(dataset.rating[edge]), time


def _manifest(dataset: PreparedDataset, users: int, count: int) -> Manifest:
    split = dataset.manifest.split | {"counts": dict.fromkeys(SPLIT_NAMES, 0) | {SPLIT_NAMES[TRAIN]: count}}
    counts = {"users": users, "movies": dataset.num_movies, "ratings": count, "duplicates_dropped": 0}
    return Manifest({}, counts, dataset.manifest.rating, split, "balanced", [0, users])
