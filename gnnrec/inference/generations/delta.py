"""Deltas: the rows of an export that differ from its parent, and the ids that are gone."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.errors import UserError
from gnnrec.inference.export_directory import MANIFEST, NEW_MOVIES_FILE, ExportDirectory
from gnnrec.inference.generations.changes import ChangedRows, changes, removed
from gnnrec.inference.generations.stored_rows import ID, StoredRows, read_ids
from gnnrec.utils.stored import irregularity, read_json

FORMAT = "gnnrec-delta"
#: Manifest entries of an export that its readers score with.
_SCORING = (
    "objective",
    "dim",
    "dtype",
    "offset",
    "head",
    "score",
    "rating",
    "rating_scale",
    "interest",
    "quantization",
)


class DeltaDirectory(ExportDirectory):
    """Directory of a delta: changed rows as in an export, ``removed_*.parquet``, and a manifest."""

    format: ClassVar[str] = FORMAT
    holds: ClassVar[str] = "a delta"


def write_delta(parent: StoredRows, child: StoredRows, out: Path, overwrite: bool) -> dict:
    """Writes the rows of ``child`` that are new or differ from ``parent``, or resumes writing them. On one rank.

    Files: ``users/part-*.parquet`` and ``movies/part-*.parquet`` with the columns of an export, named after the files
    of ``child``; ``removed_users.parquet`` and ``removed_movies.parquet`` with raw ids; ``new_movies.parquet`` of
    ``child``, if it has one; ``manifest.json``, written last, with the fingerprints of both exports and the entries
    that scores are computed with.

    Args:
        parent: The earlier export.
        child: The later export.
        out: Directory to make.
        overwrite: Replace another delta in the directory.

    Returns:
        The manifest.

    Raises:
        UserError: A file cannot be read, or the directory cannot be written.
    """
    directory = DeltaDirectory(out)
    identity = {"parent": parent.fingerprint, "export": child.fingerprint}
    if directory.open(identity, overwrite):
        return directory.manifest()
    names, counts = [], {}
    for kind, column in ID.items():
        counts[kind] = 0
        for number, part in enumerate(changes(parent, child, kind)):
            name = f"{kind}/{part.path.name}"
            if part.changed.any() or number == 0:  # readers expect a file also where nothing has changed
                counts[kind] += int(part.changed.sum())
                directory.write(name, partial(_write_changed, part))
                names.append(name)
        gone = removed(parent, child, kind)
        counts[f"removed_{kind}"] = len(gone)
        directory.write(f"removed_{kind}.parquet", partial(_write_ids, column, gone, parent.ids[kind]))
        names.append(f"removed_{kind}.parquet")
    if NEW_MOVIES_FILE in child.manifest["files"]:  # the titles and genres of changed rows
        directory.write(NEW_MOVIES_FILE, partial(shutil.copyfile, child.directory / NEW_MOVIES_FILE))
        names.append(NEW_MOVIES_FILE)
    scoring = {name: child.manifest[name] for name in _SCORING if name in child.manifest}
    return directory.finish(names, {**counts, **scoring, **identity})


def open_delta(directory: Path) -> StoredRows:
    """Opens a complete delta.

    Raises:
        UserError: It is incomplete, or something else.
    """
    path = Path(directory) / MANIFEST
    if irregularity(path) == "is missing":
        raise UserError(f"{directory} is not a complete delta (no {MANIFEST}): write it with gnnrec export --delta")
    content = read_json(path, "write the delta again")
    if content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a delta: pass a directory that gnnrec export --delta has written")
    return StoredRows(Path(directory), content)


def removed_ids(delta: StoredRows, kind: str) -> pd.Index:
    """Raw ids of ``users`` or ``movies`` that the delta removes."""
    return read_ids([delta.directory / f"removed_{kind}.parquet"], ID[kind])


def _write_changed(part: ChangedRows, path: Path) -> None:
    pq.write_table(pq.read_table(part.path).filter(pa.array(part.changed)), path)


def _write_ids(column: str, ids: pd.Index, like: pd.Index, path: Path) -> None:
    """Writes raw ids, none too, with the type that the parent has."""
    kind = pa.array(like[:1]).type if len(like) else None
    pq.write_table(pa.table({column: pa.array(ids.to_numpy(), type=kind)}), path)
