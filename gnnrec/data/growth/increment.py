"""Reads ratings to append, and refuses those that do not fit the dataset."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnnrec.data import check, formats, ids, locate, order
from gnnrec.data.blocks import look_up
from gnnrec.data.edges import sort_edges, sum_by_pair
from gnnrec.data.growth.append_options import AppendOptions
from gnnrec.data.growth.resplit import protocol_of
from gnnrec.data.layout import ID_ROLES, RATINGS_ROLES, Layout, shown, unreadable
from gnnrec.data.out_of_core import size
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.data.read import Ratings, read_ratings
from gnnrec.data.reading_report import ReadingReport
from gnnrec.errors import UserError
from gnnrec.utils import files
from gnnrec.utils.stored import check_regular


@dataclasses.dataclass
class Increment:
    """Ratings of different pairs, sorted by user row, then movie row.

    Attributes:
        sources: Name, size and SHA-256 of each file, as the manifest has them.
        rows: Number of rows that were read.
        user: Row of each rating's user, int64 ``[ratings]``; new ones follow those of the dataset.
        movie: Row of its movie, int64 ``[ratings]``.
        columns: ``movie``, ``rating`` and, if the dataset has times, ``timestamp``, with its types.
        given: Split of each rating, uint8 ``[ratings]``; None unless the dataset has a split that was given.
        new_users: Raw ids of new users in the order of their rows, int64 or object (strings).
        new_movies: Those of new movies.
        report: How the files were understood.
        movies_path: The movies file, or None.
    """

    sources: list[dict]
    rows: int
    user: np.ndarray
    movie: np.ndarray
    columns: dict[str, np.ndarray]
    given: np.ndarray | None
    new_users: np.ndarray
    new_movies: np.ndarray
    report: ReadingReport
    movies_path: Path | None


def read_increment(dataset: PreparedDataset, options: AppendOptions) -> Increment:
    """Reads the files of ``--append`` as those of the dataset were read.

    Raises:
        UserError: Malformed files, ids or ratings of another kind, or files that seem to be the wrong ones.
    """
    paths = [path for name in options.append for path in locate.locate_all_ratings(Path(name), "--append")]
    sources = [_source(path) for path in paths]
    if not options.again:
        _refuse_repeated(dataset, paths, sources)
    raw = {role: _plain_ids(dataset.table(f"{role}s")[role]) for role in ID_ROLES}
    layouts = [_layout(path, dataset, raw, options) for path in paths]
    _check_size(layouts)
    ratings = read_ratings(layouts, least_users=1, may_be_mixed=True)
    _check_ids(layouts, ratings, raw)
    scale = _check_ratings(dataset, layouts, ratings)
    if dataset.timestamp is not None and not options.again:
        _refuse_older(dataset, paths, ratings)
    place = Path(options.append[0]).expanduser()
    movies_path = options.movies or locate.locate_movies(place, paths)
    report = ReadingReport.of(layouts, ratings, scale, movies_path, 0)
    user, new_users = _rows(raw["user"], ratings.user)
    movie, new_movies = _rows(raw["movie"], ratings.movie)
    seed = dataset.manifest.split["seed"]
    of_users = order.balanced_order(ids.stable_hash(new_users), seed)
    counts = np.bincount(movie[movie >= dataset.num_movies] - dataset.num_movies, minlength=len(new_movies))
    of_movies = np.argsort(-counts, kind="stable")
    user, movie = _reordered(user, dataset.num_users, of_users), _reordered(movie, dataset.num_movies, of_movies)
    kept, _ = sort_edges(user, movie, ratings.timestamp)
    rating = ratings.rating[kept]
    if layouts[0].implicit:
        rating = sum_by_pair(user, movie, kept, ratings.rating)
    columns = {"movie": movie[kept].astype(np.int32), "rating": rating}
    if ratings.timestamp is not None:
        columns["timestamp"] = ratings.timestamp[kept]
    given = None
    if protocol_of(dataset.manifest) == "given":
        given = np.full(len(kept), TRAIN, np.uint8) if ratings.split is None else ratings.split[kept]
    return Increment(
        sources=sources,
        rows=len(user),
        user=user[kept],
        movie=movie[kept],
        columns=columns,
        given=given,
        new_users=new_users[of_users],
        new_movies=new_movies[of_movies],
        report=report,
        movies_path=movies_path,
    )


def _plain_ids(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Raw ids as int64 or strings; other programs may write them with other types."""
    return column.cast(pa.int64() if pa.types.is_integer(column.type) else pa.string())


def _source(path: Path) -> dict:
    check_regular(path, "pass a file of ratings with --append")
    try:
        return {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)}
    except OSError as error:
        raise unreadable(path, error) from None


def _refuse_repeated(dataset: PreparedDataset, paths: list[Path], sources: list[dict]) -> None:
    """Refuses a file that the dataset has already, or that is given twice."""
    manifest = dataset.manifest
    known = {entry.get("sha256"): "prepared from" for entry in manifest.source.get("files", [])}
    for increment in manifest.increments:
        known |= {
            entry["sha256"]: f"appended on {increment.get('time', 'another day')}"
            for entry in increment.get("files", [])
        }
    for path, entry in zip(paths, sources):
        if entry["sha256"] in known:
            how = known[entry["sha256"]]
            text = f"{dataset.directory} was {how} it" if how.startswith("prepared") else f"its contents were {how}"
            raise UserError(f"{path} is in the dataset already ({text}): pass --again to append it again")
        known[entry["sha256"]] = "appended before in this command"


def _layout(path: Path, dataset: PreparedDataset, raw: dict[str, pa.ChunkedArray], options: AppendOptions) -> Layout:
    source = dataset.manifest.source
    implicit = bool(source.get("implicit"))
    roles = tuple(role for role in RATINGS_ROLES if role != "rating" or not implicit)
    names = options.named_columns()
    if options.split_column is not None:
        if protocol_of(dataset.manifest) != "given":
            raise UserError(
                f"--split-column is for datasets with a split of your own, and {dataset.directory} has the protocol "
                f"{dataset.manifest.split['protocol']}: leave it out"
            )
        roles, names = (*roles, "split"), names | {"split": options.split_column}
    layout = formats.detect_layout(path, roles, names)
    columns = dict(layout.columns)
    if dataset.timestamp is None:
        columns.pop("timestamp", None)
    elif "timestamp" not in columns:
        raise UserError(
            f"{path} has no times, and the ratings of {dataset.directory} have: name their column with "
            "--timestamp-column"
        )
    text_ids = frozenset(role for role in ID_ROLES if not pa.types.is_integer(raw[role].type))
    not_rated = tuple(source.get("not_rated", ()))
    return dataclasses.replace(layout, columns=columns, text_ids=text_ids, implicit=implicit, not_rated=not_rated)


def _check_size(layouts: list[Layout]) -> None:
    """Refuses files that do not fit into memory together."""
    needed, limit = size.BASE + sum(map(size.rows, layouts)) * size.IN_MEMORY / 1e9, size.free_memory()
    if needed > limit:
        raise UserError(
            f"{layouts[0].path}: appending needs about {needed:.1f} GB of memory for all files of the command, and "
            f"{limit:.1f} GB are free for it: append fewer or smaller files at a time"
        )


def _check_ids(layouts: list[Layout], ratings: Ratings, raw: dict[str, pa.ChunkedArray]) -> None:
    """Refuses ids that are text where those of the dataset are integers."""
    for role in ID_ROLES:
        encoded: ids.EncodedIds = getattr(ratings, role)
        if pa.types.is_integer(raw[role].type) and encoded.raw.dtype == object:
            places = (check.place_of_text_id(layout, role) for layout in layouts)
            where = next((place for place in places if place is not None), str(layouts[0].path))
            raise UserError(
                f"{where}: the {role} id '{shown(encoded.other_ids[0])}' is not an integer, but those of the dataset "
                "are: correct it, or prepare all files together with --ids text"
            )


def _check_ratings(dataset: PreparedDataset, layouts: list[Layout], ratings: Ratings) -> tuple[float, float]:
    """Refuses ratings off the scale of the dataset, and splits that it has not; returns the scale."""
    rating = dataset.manifest.rating
    scale, out = (rating["min"], rating["max"]), dataset.directory
    if layouts[0].implicit:
        if protocol_of(dataset.manifest) == "given":
            raise UserError(
                f"{out} has events with a split of your own, whose numbers cannot be added up: prepare all files anew"
            )
        return scale
    by_file = np.split(ratings.rating, np.cumsum(ratings.file_rows)[:-1])
    for layout, of_file in zip(layouts, by_file):
        if len(of_file) and (of_file.min() < np.float32(scale[0]) or of_file.max() > np.float32(scale[1])):
            raise UserError(
                f"{layout.path}: ratings from {of_file.min():g} to {of_file.max():g} are off the scale {scale[0]:g} to "
                f"{scale[1]:g} of {out}: convert them, or prepare all files anew with --rating-scale"
            )
    holds_out_users = dataset.manifest.split["protocol"] == "strong"
    if ratings.split is not None and ratings.split.max() > TEST and not holds_out_users:
        raise UserError(
            f"{layouts[0].path}: the split of some ratings is an input of held-out users, of which {out} has none: "
            "prepare all files anew"
        )
    return scale


def _refuse_older(dataset: PreparedDataset, paths: list[Path], ratings: Ratings) -> None:
    """Refuses files whose ratings are all older than the newest one of the dataset."""
    assert dataset.timestamp is not None and ratings.timestamp is not None  # checked by the caller
    newest, last = int(dataset.timestamp.max()), int(ratings.timestamp.max())
    if last < newest:
        name = f"{paths[0]}" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
        raise UserError(
            f"{name}: the newest rating ({_time(last)}) is older than the newest of {dataset.directory} "
            f"({_time(newest)}): pass newer ratings, or --again to append these"
        )


def _time(seconds: int) -> str:
    return str(np.datetime64(seconds, "s")).replace("T", " ")


def _rows(known: pa.ChunkedArray, encoded: ids.EncodedIds) -> tuple[np.ndarray, np.ndarray]:
    """Row of each rating's id, int64 ``[ratings]``, and the raw ids without a row, which get the next ones.

    Args:
        known: Raw ids of the dataset in row order.
        encoded: Ids of the ratings.
    """
    raw = encoded.raw
    values = pa.array(raw, known.type)
    found = pc.index_in(known, value_set=values)  # the set is the smaller one
    positions = pc.fill_null(found, -1).to_numpy()
    rows = np.full(len(raw), -1, np.int64)
    known_rows = np.flatnonzero(positions >= 0)
    rows[positions[known_rows]] = known_rows
    is_new = rows < 0
    rows[is_new] = len(known) + np.arange(int(is_new.sum()))
    return look_up(rows, encoded.codes), raw[is_new]


def _reordered(rows: np.ndarray, known: int, order_of_new: np.ndarray) -> np.ndarray:
    """Rows with the new ones, from ``known`` on, in another order."""
    place = np.empty(len(order_of_new), np.int64)
    place[order_of_new] = np.arange(len(order_of_new))
    return np.where(rows < known, rows, known + place[np.maximum(rows - known, 0)]) if len(place) else rows
