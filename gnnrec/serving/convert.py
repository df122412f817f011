"""Converts an export to arrays that every process maps: once for each export, when it is first opened.

The arrays have all that answers need, also titles and rated movies, so the export and its dataset may change or go
afterwards. ``served.json``, written last, names their sizes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST, NEW_MOVIES_FILE
from gnnrec.inference.export_sums import check_sums
from gnnrec.inference.export_vectors import ExportVectors, read_manifest
from gnnrec.inference.numpy_users.encoder import FOLDER
from gnnrec.inference.score_bounds import ScoreBounds
from gnnrec.inference.small_vectors import SMALL
from gnnrec.serving.index import SAMPLE_USERS, write_index
from gnnrec.serving.tables import IdTable, write_array
from gnnrec.serving.title_table import TitleTable
from gnnrec.utils import files
from gnnrec.utils.stored import irregularity, read_json

SERVED = "served.json"
FORMAT, FORMAT_VERSION = "gnnrec-served", 2
#: Users that are read at a time.
_USERS = 65536
#: Movies of the lists that bounds of scores are chosen for: those that a user has rated are not in answers.
_TOP = 60
#: Users whose second moments turn the bounds.
_BOUND_USERS = 8192
#: Times that an export is converted that is replaced meanwhile.
_TRIES = 5
_ADVICE = "pass an export, or a directory of generations"


#: Array of the features of users, where reasons need them.
FEATURES = "user_features"
#: Arrays of the bounds of scores, where they gain.
BOUNDS, TURN = "bounds", "bounds_turn"


def converted_path(export: Path, cache: Path | None = None) -> Path:
    """Returns the directory of the arrays of an export: its name is a hash of the manifest.

    Args:
        export: The export.
        cache: Directory of converted exports; by default beside the export.

    Raises:
        UserError: There is no complete export.
    """
    export = Path(export).resolve()
    read_manifest(export, _ADVICE)
    return _path(export, _content(export), cache)


def _path(export: Path, manifest: bytes, cache: Path | None) -> Path:
    place = export.parent / f".{export.name}.served" if cache is None else Path(cache).resolve()
    return place / hashlib.sha256(manifest + f"{FORMAT_VERSION}".encode()).hexdigest()[:24]


def _content(export: Path) -> bytes:
    """Returns the bytes of the manifest; none if it is missing or cannot be read."""
    try:
        return (export / MANIFEST).read_bytes()
    except OSError:
        return b""


def is_converted(target: Path) -> bool:
    """Returns whether a directory has all arrays, by their sizes."""
    if irregularity(target / SERVED) is not None:
        return False
    try:
        entries = read_json(target / SERVED, "it is written again").get("arrays", {})
    except UserError:
        return False
    paths = {name: target / name for name in entries}
    return all(path.is_file() and path.stat().st_size == entries[name] for name, path in paths.items())


def convert(export: Path, cache: Path | None = None, data: Path | None = None) -> Path:
    """Converts an export whose files all match their checksums; returns the directory of the arrays.

    Args:
        export: The export.
        cache: Directory of converted exports; by default beside the export.
        data: The prepared dataset, if it has moved since the export.

    Raises:
        UserError: The export is damaged or of given ratings, its dataset has changed, or the arrays cannot be written.
    """
    export = Path(export).resolve()
    for _ in range(_TRIES):
        content = _content(export)  # its checksums name all other files
        read_manifest(export, _ADVICE)
        target = _path(export, content, cache)
        try:
            _convert(export, target, cache, data)
            return target
        except Exception:
            if content == _content(export):
                raise
    raise UserError(f"{export} was replaced each time while it was converted: start again when it stays")


def _convert(export: Path, target: Path, cache: Path | None, data: Path | None) -> None:
    try:
        if is_converted(target):
            return
        with files.locked_directory(target.parent):
            if is_converted(target):  # by another process
                return
            files.remove_leftovers(target.parent, "[0-9a-f]" * len(target.name))
            with files.complete_directory(target, overwrite=True) as place:
                _write_all(export, place, data)
                if _path(export, _content(export), cache) != target:  # files may be of two exports
                    raise UserError(f"{export} was replaced while it was converted: start again")
    except UserError as error:
        if cache is None and "cannot write there" in str(error):
            raise UserError(f"{target.parent} cannot be written: pass a directory with --cache-dir") from None
        raise
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({files.error_text(error)}): make room or pass --cache-dir"
        ) from None


def _write_all(export: Path, place: Path, data: Path | None) -> None:
    manifest = read_manifest(export)
    if manifest.get("ratings") is not None:
        raise UserError(
            f"{export} has the users of {manifest['ratings']['file']}: serve an export without --ratings, which "
            "answers new users from the ratings in their requests"
        )
    check_sums(export, manifest, ("users/", "movies/", "head.npz", NEW_MOVIES_FILE, f"{FOLDER}/"))
    source = ExportVectors(export, data)
    if source.manifest != manifest:
        raise UserError(f"{export} was replaced while it was converted: start again")
    index = _write(source, place)
    arrays = {str(path.relative_to(place)): path.stat().st_size for path in _files(place)}
    served = {"format": FORMAT, "format_version": FORMAT_VERSION, "export": manifest, "arrays": arrays}
    served |= {"genres": _genres(source)[0], "place": str(export), "index": index}
    files.write_text(place / SERVED, json.dumps(served))


def remove_old(arrays: list[Path], cache: Path | None) -> list[Path]:
    """Removes the arrays of all exports but the last two that were served; returns those two.

    Open mappings stay valid.

    Args:
        arrays: Arrays that were served, in this order.
        cache: Directory of converted exports, in which others may be of other services; by default beside the export,
            where others are of earlier ones.
    """
    kept = list(dict.fromkeys(reversed(arrays)))[1::-1]
    removed = set(arrays) - set(kept)
    if cache is None:
        removed |= {path for place in {path.parent for path in kept} for path in place.iterdir() if path not in kept}
    for path in removed:
        if (path / SERVED).exists():
            shutil.rmtree(path, ignore_errors=True)
    return kept


def _files(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        yield from (Path(folder) / name for name in names)


def _write(source: ExportVectors, place: Path) -> dict[str, Any]:
    """Writes all arrays; returns the entry of the index."""
    manifest, catalog, scoring = source.manifest, source.catalog, source.scoring
    write_array(place, "movies", scoring.movies)
    write_array(place, "movie_bias", scoring.bias)
    for name, array in scoring.head.items():
        write_array(place, f"head.{name}", array)
    write_array(place, "cold", source.cold)
    IdTable.write(place, "movie_ids", catalog.movies.to_pylist())
    TitleTable.write(place, catalog.titles, catalog.counts)
    write_array(place, "years", catalog.years.astype(np.int32))
    write_array(place, "counts", catalog.counts.astype(np.int64))
    _, pointer, codes = _genres(source)
    write_array(place, "genre_ptr", pointer)
    write_array(place, "genre_codes", codes)
    _write_users(source, place)
    for name in manifest["files"]:
        if name.startswith(f"{FOLDER}/"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.directory / name, place / name)
    users = np.load(place / "users.npy", mmap_mode="r")
    sample = _sample(users, SAMPLE_USERS)
    if not scoring.head and (
        bounds := ScoreBounds.fitted(scoring.movies, scoring.bias, _sample(users, _BOUND_USERS), sample, _TOP)
    ):
        write_array(place, BOUNDS, bounds.table)
        write_array(place, TURN, bounds.turn)
    return write_index(scoring, sample, place)


def _sample(users: np.ndarray, count: int) -> np.ndarray:
    """Returns about so many vectors of users from all places, float32 ``[users, dim]``."""
    return users[:: max(1, len(users) // count)][:count].astype(np.float32)


def _genres(source: ExportVectors) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns the names of genres, pointers into the codes, int64 ``[movies + 1]``, and the codes, int16."""
    genres = source.catalog.genres
    names = sorted({name for own in genres for name in own})
    code = {name: number for number, name in enumerate(names)}
    pointer = np.concatenate([[0], np.cumsum([len(own) for own in genres], dtype=np.int64)]).astype(np.int64)
    return names, pointer, np.array([code[name] for own in genres for name in own], np.int16)


def _write_users(source: ExportVectors, place: Path) -> None:
    """Writes the vectors of users, their ids, and the movies that they rated.

    Vectors have the type of the export; those of one byte a column are decoded, so that a request need not.
    """
    manifest, ratings = source.manifest, source.catalog.ratings
    users, dim = manifest["users"], manifest["dim"]
    dtype = np.dtype("float32" if manifest["dtype"] in SMALL else manifest["dtype"])
    vectors = np.lib.format.open_memmap(place / "users.npy", "w+", dtype, (users, dim))
    bias, ids = np.empty(users, np.float32), []
    for first in range(0, users, _USERS):
        rows = range(first, min(first + _USERS, users))
        block = source.block(rows)
        vectors[rows.start : rows.stop], bias[rows.start : rows.stop] = block.vectors, block.bias
        ids += block.ids.to_pylist()
    vectors.flush()
    write_array(place, "user_bias", bias)
    IdTable.write(place, "user_ids", ids)
    features = source.catalog.dataset.features("user")
    if manifest.get("encoder") is not None and source.encoder.feature_columns and features is not None:
        write_array(place, FEATURES, features.read(0, users))
    ratings.check()
    for name in ("user_ptr", "movie", "rating", "split", "timestamp"):
        if (array := getattr(ratings, name)) is not None:
            write_array(place, f"rated.{name}", array)
