"""PostgreSQL with pgvector: exact scans, or an HNSW graph whose search goes on where a filter leaves too few rows."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.stores.addresses import shown
from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout

#: The widest vector that has an index.
_MOST_COLUMNS = 2000
#: The most movies that a search with a filter looks at, ten times the default, which is too few for a rare genre.
_SCANNED = 200_000
_TYPES = {"integer": "bigint", "string": "text"}


class PgVector:
    """A database of PostgreSQL; tables ``NAME_users``, ``NAME_movies`` and ``NAME_state``.

    Args:
        url: ``postgresql://...``, as libpq reads it.
        name: Begin of the tables' names.

    Attributes:
        filter_aware: Let searches go on where a filter leaves too few movies of those that the graph has found.

    Raises:
        UserError: The database has no pgvector.
        psycopg.Error: The server cannot be reached.
    """

    #: ``hnsw.ef_search``; the default is 40.
    widths: tuple[int, ...] = (40, 80, 160, 320, 640, 1000, EXACT)
    #: ``m`` and ``ef_construction`` of the graph; the defaults are 16 and 64.
    links, build_width = 32, 128

    def __init__(self, url: str, name: str):
        import psycopg

        self._psycopg: Any = psycopg
        self.errors: tuple[type[Exception], ...] = (psycopg.Error,)
        self.width, self.filter_aware, self._name = self.widths[0], True, name
        self._connection = psycopg.connect(url, autocommit=True)
        try:
            self._execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.Error as error:
            self._connection.close()
            reason, advice = str(error).splitlines()[0], "install it"
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                advice = "let its owner run CREATE EXTENSION vector"
            raise UserError(f"{shown(url)}: the database has no pgvector ({reason}): {advice}") from None

    @property
    def version(self) -> str:
        """Versions of the server and of pgvector."""
        (server,) = self._execute("SHOW server_version").fetchone()
        (vector,) = self._execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        return f"PostgreSQL {server.split()[0]}, pgvector {vector}"

    @property
    def settings(self) -> str:
        """The index, or an exact scan of vectors that are too wide for one."""
        (count,) = self._execute("SELECT count(*) FROM pg_indexes WHERE indexname = %s", self._index).fetchone()
        if not count or self.width == EXACT:
            return "exact scan"
        scan = "relaxed_order" if self.filter_aware else "off"
        return f"HNSW m {self.links}, ef_construction {self.build_width}, ef_search {self.width}, iterative_scan {scan}"

    def read_state(self) -> State | None:
        """Reads the state."""
        if not self._has("state"):
            return None
        row = self._execute(f"SELECT state FROM {self._name}_state").fetchone()
        return None if row is None else row[0]

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        with self._connection.transaction():
            self._execute(f"CREATE TABLE IF NOT EXISTS {self._name}_state (state jsonb)")
            self._execute(f"DELETE FROM {self._name}_state")
            self._execute(f"INSERT INTO {self._name}_state VALUES (%s::jsonb)", json.dumps(state))

    def occupied(self) -> bool:
        """Returns whether there are such tables."""
        return any(self._has(kind) for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty tables."""
        with self._connection.transaction():
            for kind in KINDS:
                self._execute(f"DROP TABLE IF EXISTS {self._name}_{kind}")
                extra = "bias real" if kind == "users" else "title text, genres text[]"
                self._execute(
                    f"CREATE TABLE {self._name}_{kind} (id {_TYPES[layout.ids(kind)]} PRIMARY KEY,"
                    f" embedding vector({layout.dim}), {extra})"
                )
                if layout.dim <= _MOST_COLUMNS:  # a row in a page is read faster, and a page has 8 KB
                    self._execute(f"ALTER TABLE {self._name}_{kind} ALTER COLUMN embedding SET STORAGE PLAIN")
            self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Copies rows into a table of the session, and from there."""
        table = f"{self._name}_{rows.kind}"
        with self._connection.transaction():
            self._execute(f"CREATE TEMP TABLE incoming (LIKE {table}) ON COMMIT DROP")
            with self._connection.cursor().copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
                for block in _binary(rows):
                    copy.write(block)
            columns = ("bias",) if rows.kind == "users" else ("title", "genres")
            replaced = ", ".join(f"{column} = excluded.{column}" for column in ("embedding", *columns))
            self._execute(f"INSERT INTO {table} SELECT * FROM incoming ON CONFLICT (id) DO UPDATE SET {replaced}")
            self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id."""
        with self._connection.transaction():
            if ids:
                self._execute(f"DELETE FROM {self._name}_{kind} WHERE id = ANY(%s)", ids)
            self.write_state(state)

    def finish(self, state: State) -> None:
        """Builds the indexes that are missing: a load goes faster without them."""
        if state["layout"]["dim"] <= _MOST_COLUMNS:
            self._build_graph(state["layout"]["dim"])
        self._execute(f"CREATE INDEX IF NOT EXISTS {self._name}_genres ON {self._name}_movies USING gin (genres)")
        self._execute(f"ANALYZE {self._name}_movies")
        self.write_state(state)

    def _build_graph(self, dim: int) -> None:
        statement = (
            f"CREATE INDEX IF NOT EXISTS {self._index} ON {self._name}_movies USING hnsw"
            f" (embedding vector_ip_ops) WITH (m = {self.links}, ef_construction = {self.build_width})"
        )
        memory = "SELECT setting::bigint FROM pg_settings WHERE name = 'maintenance_work_mem'"  # in kB
        (rows,), (given,) = (
            self._execute(query).fetchone() for query in (f"SELECT count(*) FROM {self._name}_movies", memory)
        )
        # A graph that does not fit in memory is built in many times the time.
        needed = 4096 + rows * (4 * dim + 32 * self.links + 250) // 1024
        self._execute(f"SET maintenance_work_mem = {min(max(given, needed), 2**31 - 1)}")
        try:
            self._execute(statement)
        except self._psycopg.OperationalError:
            # Workers share that memory in /dev/shm, which has 64 MB in a container; one process needs none there.
            self._execute("SET max_parallel_maintenance_workers = 0")
            self._execute(statement)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        row = self._execute(f"SELECT embedding::real[], bias FROM {self._name}_users WHERE id = %s", user).fetchone()
        return None if row is None else (np.array(row[0], np.float32), row[1])

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Orders movies by ``<#>``, the negative inner product.

        A scan in relaxed order finds movies in rounds, and a later round may have better ones, which a scan in strict
        order leaves out. So the movies that are found are sorted; the 0 keeps PostgreSQL from taking them for sorted.
        """
        where = "" if genre is None else "WHERE genres @> ARRAY[%(genre)s]"
        product = "embedding <#> %(query)s::vector"
        order = f"({product}) + 0" if self.width == EXACT else product  # a sum has no index
        statement = (
            "WITH found AS MATERIALIZED ("
            f"SELECT id, {product} AS distance, title FROM {self._name}_movies {where}"
            f" ORDER BY {order} LIMIT %(top)s) SELECT id, -distance, title FROM found ORDER BY distance + 0"
        )
        with self._connection.transaction():
            for setting, value in self._search_settings(top).items():
                self._execute(f"SET LOCAL {setting} = {value}")
            found = []
            for query in queries:
                text = "[" + ",".join(map(repr, query.tolist())) + "]"
                rows = self._connection.execute(statement, {"query": text, "top": top, "genre": genre})
                found.append([Hit(*row) for row in rows])
            return found

    def _search_settings(self, top: int) -> dict[str, int | str]:
        if self.width == EXACT:
            return {}
        if not self.filter_aware:
            return {"hnsw.ef_search": max(self.width, min(top, 1000)), "hnsw.iterative_scan": "off"}
        return {
            "hnsw.ef_search": max(self.width, min(top, 1000)),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": _SCANNED,
            "hnsw.scan_mem_multiplier": 4,
        }

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _has(self, kind: str) -> bool:
        return self._execute("SELECT to_regclass(%s)", f"{self._name}_{kind}").fetchone()[0] is not None

    @property
    def _index(self) -> str:
        return f"{self._name}_hnsw"

    def _execute(self, statement: str, *values: Any) -> Any:
        return self._connection.execute(statement, values or None)


def _binary(rows: NodeRows) -> Iterator[bytes]:
    """Yields rows in PostgreSQL's binary format of COPY, which takes a tenth of the time of text."""
    yield b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
    width = rows.vectors.shape[1]
    head = struct.pack(">ihh", 4 + 4 * width, width, 0)
    vectors = rows.vectors.astype(">f4")
    is_integer = bool(rows.ids) and isinstance(rows.ids[0], int)
    count = struct.pack(">h", 3 if rows.kind == "users" else 4)
    biases = rows.bias.tolist()
    for number, row in enumerate(rows.ids):
        start = struct.pack(">iq", 8, row) if is_integer else _text(str(row))
        if rows.kind == "users":
            rest = struct.pack(">if", 4, biases[number])
        else:
            rest = _text(rows.titles[number]) + _texts(rows.genres[number])
        yield count + start + head + vectors[number].tobytes() + rest
    yield struct.pack(">h", -1)


def _text(value: str) -> bytes:
    content = value.replace("\0", "").encode()
    return struct.pack(">i", len(content)) + content


def _texts(values: list[str]) -> bytes:
    """A one-dimensional array of texts; 25 is the number of their type."""
    content = struct.pack(">iii", 1 if values else 0, 0, 25)
    if values:
        content += struct.pack(">ii", len(values), 1) + b"".join(map(_text, values))
    return struct.pack(">i", len(content)) + content
