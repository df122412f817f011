"""Changes from one export to the next: rows, and how far vectors moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from gnnrec.inference.generations.stored_rows import ID, StoredRows, read_columns, read_ids


@dataclasses.dataclass(frozen=True)
class ChangedRows:
    """One file of an export next to the parent's rows.

    Attributes:
        path: The file.
        known: Whether the parent has the row, bool ``[rows]``.
        changed: Whether the row is new or differs in any bit, bool ``[rows]``.
        cosine: Cosine of the row's vector and the parent's, float64, an entry for each known row.
    """

    path: Path
    known: np.ndarray
    changed: np.ndarray
    cosine: np.ndarray


def changes(parent: StoredRows, child: StoredRows, kind: str) -> Iterator[ChangedRows]:
    """Compares an export with its parent, file by file.

    Args:
        parent: The earlier export.
        child: The later export.
        kind: ``users`` or ``movies``.
    """
    for path in child.files(kind):
        known, old = parent.rows(kind, read_ids([path], ID[kind]))
        new = read_columns(path)
        changed = ~known | differ(new, old)
        first, second = (parent.vectors(columns)[known].astype(np.float64) for columns in (new, old))
        yield ChangedRows(path, known, changed, _cosine(first, second))


def differ(new: dict[str, np.ndarray], old: dict[str, np.ndarray]) -> np.ndarray:
    """Returns whether rows differ in any column, bool ``[rows]``; a column that one side lacks is zero there."""
    found = np.zeros(len(new["bias"]), bool)
    for name in new.keys() | old.keys():
        one, other = (columns.get(name, np.zeros(1, bool)) for columns in (new, old))
        unequal = one != other
        found |= unequal.any(1) if unequal.ndim == 2 else unequal
    return found


def removed(parent: StoredRows, child: StoredRows, kind: str) -> pd.Index:
    """Raw ids that the parent has and the child does not."""
    ids = parent.ids[kind]
    return ids[child.ids[kind].get_indexer(ids) < 0]


def describe(parent: StoredRows, child: StoredRows) -> dict:
    """Manifest entries: numbers of rows that are as in the parent, changed, new and removed, and cosines."""
    found = {}
    for kind in ("users", "movies"):
        parts = list(changes(parent, child, kind))
        new = sum(int((~part.known).sum()) for part in parts)
        changed = sum(int(part.changed.sum()) for part in parts) - new
        cosine = np.concatenate([part.cosine for part in parts]) if parts else np.zeros(0)
        found[kind] = {
            "same": len(cosine) - changed,
            "changed": changed,
            "new": new,
            "removed": len(removed(parent, child, kind)),
            "mean_cosine": float(cosine.mean()) if cosine.size else None,
            "lowest_cosine": float(cosine.min()) if cosine.size else None,
        }
    return found


def _cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosines of rows; 1 for two vectors of zeros, 0 for one."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    zeros = ~first.any(1) & ~second.any(1)
    return np.where(zeros, 1.0, (first * second).sum(1) / np.where(lengths > 0, lengths, 1.0))
