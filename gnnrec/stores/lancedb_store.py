"""LanceDB: exact scans of a directory or a bucket, which its manual advises up to some hundred thousand rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout
from gnnrec.stores.tables import schema_of, table_of

#: Ids in one condition.
_BATCH = 10_000


class LanceStore:
    """A database of LanceDB; tables ``NAME_users``, ``NAME_movies`` and ``NAME_state``.

    Args:
        path: A directory, which is made if it is missing, or an address that LanceDB opens.
        name: Begin of the tables' names.
    """

    widths: tuple[int, ...] = (EXACT,)
    settings = "exact scan, filter before the search"
    #: LanceDB raises exceptions of Python alone.
    errors: tuple[type[Exception], ...] = (OSError, RuntimeError)

    def __init__(self, path: str, name: str):
        import lancedb
        import lancedb.index

        self.width, self._name, self._lancedb = EXACT, name, lancedb
        self._database = lancedb.connect(path)

    @property
    def version(self) -> str:
        """Version of LanceDB."""
        return f"LanceDB {self._lancedb.__version__}"

    def read_state(self) -> State | None:
        """Reads the state."""
        if f"{self._name}_state" not in self._tables():
            return None
        rows = self._table("state").to_arrow()["state"].to_pylist()
        return json.loads(rows[0]) if rows else None

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        table = pa.table({"state": [json.dumps(state)]})
        self._make("state", table)

    def occupied(self) -> bool:
        """Returns whether there are such tables."""
        return any(f"{self._name}_{kind}" in self._tables() for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty tables."""
        for kind in KINDS:
            self._make(kind, schema_of(layout.dim, kind, layout.ids(kind)).empty_table())
        self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Merges rows by id."""
        if rows.ids:
            merge = self._table(rows.kind).merge_insert("id")
            merge.when_matched_update_all().when_not_matched_insert_all().execute(table_of(rows))
        self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id."""
        for first in range(0, len(ids), _BATCH):
            self._table(kind).delete(f"id IN ({', '.join(map(_literal, ids[first : first + _BATCH]))})")
        self.write_state(state)

    def finish(self, state: State) -> None:
        """Joins the fragments that steps have written, and indexes the ids of users and the genres of movies."""
        index = self._lancedb.index
        self._table("users").create_index("id", config=index.BTree())
        self._table("movies").create_index("genres", config=index.LabelList())
        for kind in KINDS:
            self._table(kind).optimize()
        self.write_state(state)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        rows = self._table("users").search().where(f"id = {_literal(user)}").limit(1).to_list()
        return (np.array(rows[0]["embedding"], np.float32), rows[0]["bias"]) if rows else None

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Searches with ``dot``, whose distance is 1 less the inner product."""
        table, found = self._table("movies"), []
        for query in queries:
            search = table.search(query, vector_column_name="embedding").distance_type("dot").limit(top)
            if genre is not None:
                search = search.where(f"array_has(genres, {_literal(genre)})", prefilter=True)
            rows = search.select(["id", "title", "_distance"]).to_list()
            found.append([Hit(row["id"], 1 - row["_distance"], row["title"]) for row in rows])
        return found

    def close(self) -> None:
        """Does nothing: every write is complete."""

    def _make(self, kind: str, content: pa.Table) -> None:
        name = f"{self._name}_{kind}"
        mode = "overwrite" if name in self._tables() else "create"  # LanceDB warns of replacing nothing
        self._database.create_table(name, content, mode=mode)

    def _tables(self) -> list[str]:
        return list(self._database.list_tables(limit=10_000).tables)

    def _table(self, kind: str) -> Any:
        return self._database.open_table(f"{self._name}_{kind}")


def _literal(value: Id) -> str:
    """Returns an id or a genre as SQL."""
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
