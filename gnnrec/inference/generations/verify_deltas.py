"""Proves that a base export with its deltas equals a later export, row by row and bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import read_manifest
from gnnrec.inference.generations.changes import differ
from gnnrec.inference.generations.delta import open_delta, removed_ids
from gnnrec.inference.generations.stored_rows import ID, Columns, StoredRows, read_columns, read_ids


def verify_deltas(base: Path, deltas: list[Path], full: Path) -> str:
    """Applies deltas to a base, in order, and compares the rows with an export; a file is in memory at a time.

    Args:
        base: The first export.
        deltas: Deltas from it to the later export.
        full: The later export.

    Returns:
        What was compared, for a line of output.

    Raises:
        UserError: A delta does not follow the one before it, or a row differs.
    """
    first, later = StoredRows(base, read_manifest(base)), StoredRows(full, read_manifest(full))
    chain = [open_delta(delta) for delta in deltas]
    reached, place = first.fingerprint, base
    for delta in chain:
        if delta.manifest["parent"] != reached:
            raise UserError(f"{delta.directory} does not follow {place}: pass the deltas in the order of their exports")
        reached, place = delta.manifest["export"], delta.directory
    if reached != later.fingerprint:
        raise UserError(f"{place} does not lead to {full}: pass all deltas between the two exports")
    counts = [_compare(kind, first, chain, later) for kind in ID]
    return f"{base} and {len(chain)} deltas give the same {counts[0]:,} users and {counts[1]:,} movies"


def _compare(kind: str, base: StoredRows, chain: list[StoredRows], full: StoredRows) -> int:
    """Compares all users or movies; returns their number."""
    alive = base.ids[kind]
    for delta in chain:
        alive = alive.difference(removed_ids(delta, kind), sort=False).union(delta.ids[kind], sort=False)
    ids = full.ids[kind]
    if len(alive) != len(ids) or (alive.get_indexer(ids) < 0).any():
        raise UserError(f"{full.directory} has other {kind} than {base.directory} with its deltas: export again")
    for path in full.files(kind):
        ids = read_ids([path], ID[kind])
        unequal = differ(read_columns(path), _applied(kind, base, chain, ids))
        if unequal.any():
            raise UserError(
                f"{path}: {ID[kind]} {ids[unequal][0]} differs from {base.directory} with its deltas: export again"
            )
    return len(alive)


def _applied(kind: str, base: StoredRows, chain: list[StoredRows], ids: pd.Index) -> Columns:
    """Rows of the base with deltas applied."""
    _, rows = base.rows(kind, ids)
    for delta in chain:
        here, changed = delta.rows(kind, ids)
        for name, values in changed.items():
            old = rows.setdefault(name, np.zeros_like(values))
            old[here] = values[here]
        for name in rows.keys() - changed.keys():
            rows[name][here] = 0
    return rows
