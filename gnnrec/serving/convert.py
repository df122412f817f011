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
from gnnrec.inference.export_vectors import ExportVectors, read_manifest
from gnnrec.inference.numpy_users.encoder import FOLDER
from gnnrec.inference.small_vectors import SMALL
from gnnrec.serving.index import SAMPLE_USERS, write_index
from gnnrec.serving.tables import IdTable, TextTable, write_array
from gnnrec.utils import files
from gnnrec.utils.stored import check_regular, irregularity, read_json

SERVED = "served.json"
FORMAT, FORMAT_VERSION = "gnnrec-served", 1
#: Users that are read at a time.
_USERS = 65536


#: Array of the features of users, where reasons need them.
FEATURES = "user_features"


def converted_path(export: Path, cache: Path | None = None) -> Path:
    """Returns the directory of the arrays of an export: its name is a hash of the manifest.

    Args:
        export: The export.
        cache: Directory of converted exports; by default beside the export.

    Raises:
        UserError: There is no complete export.
    """
    export = Path(export).resolve()
    read_manifest(export, "pass an export, or a directory of generations")
    manifest = (export / MANIFEST).read_bytes()
    place = export.parent / f".{export.name}.served" if cache is None else Path(cache).resolve()
    return place / hashlib.sha256(manifest + f"{FORMAT_VERSION}".encode()).hexdigest()[:24]


def is_converted(target: Path) -> bool:
    """Returns whether a directory has all arrays, by their sizes."""
    if irregularity(target / SERVED) is not None:
        return False
    entries = read_json(target / SERVED, f"remove {target} and start again").get("arrays", {})
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
    export, target = Path(export).resolve(), converted_path(export, cache)
    if is_converted(target):
        return target
    manifest = read_manifest(export)
    if manifest.get("ratings") is not None:
        raise UserError(
            f"{export} has the users of {manifest['ratings']['file']}: serve an export without --ratings, which "
            "answers new users from the ratings in their requests"
        )
    _check_sums(export, manifest)
    source = ExportVectors(export, data)
    try:
        with files.complete_directory(target, overwrite=True) as place:
            index = _write(source, place)
            arrays = {str(path.relative_to(place)): path.stat().st_size for path in _files(place)}
            served = {"format": FORMAT, "format_version": FORMAT_VERSION, "export": manifest, "arrays": arrays}
            served |= {"genres": _genres(source)[0], "place": str(export), "index": index}
            files.write_text(place / SERVED, json.dumps(served))
    except UserError as error:
        if cache is None and "cannot write there" in str(error):
            raise UserError(f"{target.parent} cannot be written: pass a directory with --cache-dir") from None
        raise
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({files.error_text(error)}): make room or pass --cache-dir"
        ) from None
    return target


def remove_others(kept: list[Path]) -> None:
    """Removes the arrays of other exports in the directories of ``kept``; open mappings of them stay valid."""
    for place in {path.parent for path in kept}:
        for path in place.iterdir():
            if path not in kept and (path / SERVED).exists():
                shutil.rmtree(path, ignore_errors=True)


def _files(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        yield from (Path(folder) / name for name in names)


def _check_sums(export: Path, manifest: dict[str, Any]) -> None:
    """Raises a :class:`UserError` about a file that does not match the manifest; formats that are not used may."""
    used = ("users/", "movies/", "head.npz", NEW_MOVIES_FILE, f"{FOLDER}/")
    for name, entry in manifest["files"].items():
        if name.startswith(used):
            check_regular(export / name, "export again")
            if files.sha256(export / name) != entry["sha256"]:
                raise UserError(f"{export / name} does not match its checksum: export again")


def _write(source: ExportVectors, place: Path) -> dict[str, Any]:
    """Writes all arrays; returns the entry of the index."""
    manifest, catalog, scoring = source.manifest, source.catalog, source.scoring
    write_array(place, "movies", scoring.movies)
    write_array(place, "movie_bias", scoring.bias)
    for name, array in scoring.head.items():
        write_array(place, f"head.{name}", array)
    write_array(place, "cold", source.cold)
    IdTable.write(place, "movie_ids", catalog.movies.to_pylist())
    TextTable.write(place, "titles", catalog.titles)
    folded = [title.casefold().replace("\n", " ") for title in catalog.titles]
    TextTable.write(place, "folded_titles", [title + "\n" for title in folded])
    keys = [title.encode("utf-8", "surrogatepass") for title in folded]
    write_array(place, "title_order", np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int32))
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
    step = max(1, source.num_users // SAMPLE_USERS)
    sample = np.load(place / "users.npy", mmap_mode="r")[::step][:SAMPLE_USERS].astype(np.float32)
    return write_index(scoring, sample, place)


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
