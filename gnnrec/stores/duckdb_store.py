"""DuckDB: exact scans of a file, without an extension."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout
from gnnrec.stores.tables import table_of

_TYPES = {"integer": "BIGINT", "string": "VARCHAR"}


class DuckDB:
    """A file of DuckDB; tables ``NAME_users``, ``NAME_movies`` and ``NAME_state``.

    Args:
        path: The file, which is made if it is missing.
        name: Begin of the tables' names.

    Raises:
        duckdb.Error: The file is something else, or in use.
    """

    widths: tuple[int, ...] = (EXACT,)
    settings = "exact scan"

    def __init__(self, path: Path, name: str):
        import duckdb

        self.errors: tuple[type[Exception], ...] = (duckdb.Error,)
        self.width, self._name, self._duckdb = EXACT, name, duckdb
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(str(path))

    @property
    def version(self) -> str:
        """Version of DuckDB."""
        return f"DuckDB {self._duckdb.__version__}"

    def read_state(self) -> State | None:
        """Reads the state."""
        if f"{self._name}_state" not in self._tables():
            return None
        row = self._connection.execute(f"SELECT state FROM {self._name}_state").fetchone()
        return None if row is None else json.loads(row[0])

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        with self._transaction():
            self._keep(state)

    def occupied(self) -> bool:
        """Returns whether there are such tables."""
        return any(f"{self._name}_{kind}" in self._tables() for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty tables."""
        with self._transaction():
            for kind in KINDS:
                extra = "bias FLOAT" if kind == "users" else "title VARCHAR, genres VARCHAR[]"
                self._connection.execute(
                    f"CREATE OR REPLACE TABLE {self._name}_{kind} (id {_TYPES[layout.ids(kind)]},"
                    f" embedding FLOAT[{layout.dim}], {extra})"
                )
            self._keep(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Replaces rows."""
        incoming = table_of(rows)
        with self._transaction():
            self._connection.register("incoming", incoming)
            self._connection.execute(f"DELETE FROM {self._name}_{rows.kind} WHERE id IN (SELECT id FROM incoming)")
            self._connection.execute(f"INSERT INTO {self._name}_{rows.kind} SELECT * FROM incoming")
            self._connection.unregister("incoming")
            self._keep(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id."""
        with self._transaction():
            if ids:
                self._connection.register("gone", pa.table({"id": ids}))
                self._connection.execute(f"DELETE FROM {self._name}_{kind} WHERE id IN (SELECT id FROM gone)")
                self._connection.unregister("gone")
            self._keep(state)

    def finish(self, state: State) -> None:
        """Writes everything into the file."""
        self.write_state(state)
        self._connection.execute("CHECKPOINT")

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        row = self._connection.execute(
            f"SELECT embedding, bias FROM {self._name}_users WHERE id = ?", [user]
        ).fetchone()
        return None if row is None else (np.array(row[0], np.float32), row[1])

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Orders all movies by ``array_inner_product``."""
        where = "" if genre is None else "WHERE list_contains(genres, $genre)"
        statement = (
            f"SELECT id, array_inner_product(embedding, $query::FLOAT[{queries.shape[1]}]) AS score, title"
            f" FROM {self._name}_movies {where} ORDER BY score DESC LIMIT {top}"
        )
        found = []
        for query in queries:
            values = {"query": query.tolist()} | ({} if genre is None else {"genre": genre})
            found.append([Hit(*row) for row in self._connection.execute(statement, values).fetchall()])
        return found

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def _tables(self) -> set[str]:
        """Names of tables and views, of which DuckDB does not replace one by the other."""
        names = self._connection.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_catalog = current_database() AND table_schema = current_schema()"
        )
        return {name for (name,) in names.fetchall()}

    def _keep(self, state: State) -> None:
        self._connection.execute(f"CREATE OR REPLACE TABLE {self._name}_state (state VARCHAR)")
        self._connection.execute(f"INSERT INTO {self._name}_state VALUES (?)", [json.dumps(state)])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commits what the block has written, or nothing of it."""
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()
