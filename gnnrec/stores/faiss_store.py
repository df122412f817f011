"""FAISS: exact indexes of users and movies by id in a directory, with titles and genres beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnnrec.errors import UserError
from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout
from gnnrec.utils import files
from gnnrec.utils.stored import read_json


class FaissStore:
    """A directory with ``NAME_users.faiss``, ``NAME_movies.faiss``, a Parquet file for each, and ``NAME_state.json``.

    The keys of an index are whole raw ids themselves, and hashes of others; the Parquet files have both.

    Args:
        path: The directory, which is made if it is missing.
        name: Begin of the files' names.
    """

    widths: tuple[int, ...] = (EXACT,)
    settings = "IndexIDMap2 of IndexFlatIP: exact, filter by IDSelectorBatch"
    errors: tuple[type[Exception], ...] = (RuntimeError, OSError)

    def __init__(self, path: Path, name: str):
        import faiss

        self.width, self._faiss = EXACT, faiss
        self._path, self._name = path, name
        self._indexes: dict[str, Any] = {}
        self._tables: dict[str, dict[int, dict]] = {}
        path.mkdir(parents=True, exist_ok=True)

    @property
    def version(self) -> str:
        """Version of FAISS."""
        return f"FAISS {self._faiss.__version__}"

    def read_state(self) -> State | None:
        """Reads the state."""
        path = self._file("state", "json")
        return read_json(path, "remove it, and load the export again") if path.exists() else None

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        files.write_text(self._file("state", "json"), json.dumps(state))

    def occupied(self) -> bool:
        """Returns whether there are such files."""
        return any(self._file(kind, suffix).exists() for kind in KINDS for suffix in ("faiss", "parquet"))

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty indexes."""
        for kind in KINDS:
            self._indexes[kind] = self._faiss.IndexIDMap2(self._faiss.IndexFlatIP(layout.dim))
            self._tables[kind] = {}
            self._save(kind)
        self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Removes keys and adds them again."""
        index, table = self._open(rows.kind)
        keys = _keys(rows.ids)
        known = [key for key in keys.tolist() if key in table]
        if known:
            index.remove_ids(np.array(known, np.int64))
        for number, (key, row) in enumerate(zip(keys.tolist(), rows.ids, strict=True)):
            if table.get(key, {"id": row})["id"] != row:
                raise UserError(f"ids {row} and {table[key]['id']} have the same hash: rename one of them")
            table[key] = (
                {"id": row, "bias": float(rows.bias[number])}
                if rows.kind == "users"
                else {"id": row, "title": rows.titles[number], "genres": rows.genres[number]}
            )
        if rows.ids:
            index.add_with_ids(np.ascontiguousarray(rows.vectors, np.float32), keys)
        self._save(rows.kind)
        self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id."""
        if ids:
            index, table = self._open(kind)
            keys = _keys(ids)
            index.remove_ids(keys)
            for key in keys.tolist():
                table.pop(key, None)
            self._save(kind)
        self.write_state(state)

    def finish(self, state: State) -> None:
        """Keeps the state."""
        self.write_state(state)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        index, table = self._open("users")
        (key,) = _keys([user]).tolist()
        return (index.reconstruct(key), table[key]["bias"]) if key in table else None

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Searches all movies, or those of a genre by their keys."""
        index, table = self._open("movies")
        options: dict[str, Any] = {}
        faiss: Any = self._faiss
        if genre is not None:
            allowed = np.array([key for key, row in table.items() if genre in row["genres"]], np.int64)
            options["params"] = faiss.SearchParameters(sel=faiss.IDSelectorBatch(allowed))
        top = min(top, index.ntotal if genre is None else len(allowed))  # places without a movie would have key -1
        if not top:
            return [[] for _ in queries]
        scores, keys = index.search(np.ascontiguousarray(queries, np.float32), top, **options)
        return [
            [Hit(table[key]["id"], score, table[key]["title"]) for key, score in zip(*found) if key in table]
            for found in zip(keys.tolist(), scores.tolist(), strict=True)
        ]

    def close(self) -> None:
        """Forgets the indexes: files are complete after every step."""
        self._indexes.clear()
        self._tables.clear()

    def _open(self, kind: str) -> tuple[Any, dict[int, dict]]:
        if kind not in self._indexes:
            self._indexes[kind] = self._faiss.read_index(str(self._file(kind, "faiss")))
            rows = pq.read_table(self._file(kind, "parquet")).to_pylist()
            self._tables[kind] = {row.pop("key"): row for row in rows}
        return self._indexes[kind], self._tables[kind]

    def _save(self, kind: str) -> None:
        """Writes the table before the index, which is the one that searches begin with."""
        keys, rows = list(self._tables[kind]), list(self._tables[kind].values())
        columns = {"key": pa.array(keys, pa.int64())}
        columns |= {name: pa.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
        with files.complete_file(self._file(kind, "parquet"), overwrite=True) as aside:
            pq.write_table(pa.table(columns), aside)
        with files.complete_file(self._file(kind, "faiss"), overwrite=True) as aside:
            self._faiss.write_index(self._indexes[kind], str(aside))

    def _file(self, kind: str, suffix: str) -> Path:
        return self._path / f"{self._name}_{kind}.{suffix}"


def _keys(ids: list[Id]) -> np.ndarray:
    """Returns int64 keys: whole ids themselves, and 63 bits of a hash of others."""
    if ids and isinstance(ids[0], int):
        return np.array(ids, np.int64)
    hashes = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in ids)
    return np.array([int.from_bytes(digest, "big") >> 1 for digest in hashes], np.int64)
