"""Milvus: exact searches, in a file of Milvus Lite or on a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout

#: Rows of a request, whose size is limited.
_BATCH = 5000
#: The longest id, title, genre and state in bytes, and the most genres of a movie.
_ID_BYTES, _TEXT_BYTES, _GENRE_BYTES, _GENRES = 1024, 65_535, 1024, 1024


class Milvus:
    """A database of Milvus; collections ``NAME_users``, ``NAME_movies`` and ``NAME_state``.

    Args:
        place: A file of Milvus Lite, which ends with ``.db``, or ``http://HOST:PORT`` of a server.
        name: Begin of the collections' names.

    Raises:
        pymilvus.MilvusException: No server, or a file of something else.
    """

    widths: tuple[int, ...] = (EXACT,)
    settings = "FLAT: exact, filter by array_contains"

    def __init__(self, place: str, name: str):
        import pymilvus

        self.errors: tuple[type[Exception], ...] = (pymilvus.MilvusException,)
        self.width, self._name, self._milvus = EXACT, name, pymilvus
        if "://" not in place:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        self._client, self._loaded = pymilvus.MilvusClient(place), set[str]()

    @property
    def version(self) -> str:
        """Version of Milvus Lite or of the server, and of the client."""
        return f"{self._client.get_server_version()}, pymilvus {self._milvus.__version__}"

    def read_state(self) -> State | None:
        """Reads the state."""
        if not self._client.has_collection(f"{self._name}_state"):
            return None
        rows = self._get("state", 0, ["state"])
        return json.loads(rows[0]["state"]) if rows else None

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        if not self._client.has_collection(f"{self._name}_state"):
            self._make("state", "integer", 2)
        row = {"id": 0, "embedding": [0.0, 0.0], "state": json.dumps(state)}
        self._client.upsert(f"{self._name}_state", [row])

    def occupied(self) -> bool:
        """Returns whether there are such collections."""
        return any(self._client.has_collection(f"{self._name}_{kind}") for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty collections."""
        for kind in KINDS:
            if self._client.has_collection(f"{self._name}_{kind}"):
                self._client.drop_collection(f"{self._name}_{kind}")
            self._make(kind, layout.ids(kind), layout.dim)
        self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Replaces rows."""
        for batch in rows.batches(_BATCH):
            columns: dict[str, list] = {"id": batch.ids, "embedding": list(batch.vectors.astype(np.float32))}
            if rows.kind == "users":
                columns["bias"] = batch.bias.tolist()
            else:
                columns |= {"title": batch.titles, "genres": batch.genres}
            entities = [dict(zip(columns, values)) for values in zip(*columns.values(), strict=True)]
            self._client.upsert(f"{self._name}_{rows.kind}", entities)
        self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes rows by id."""
        for first in range(0, len(ids), _BATCH):
            self._client.delete(f"{self._name}_{kind}", filter=_among(ids[first : first + _BATCH]))
        self.write_state(state)

    def finish(self, state: State) -> None:
        """Writes rows from memory into segments."""
        for kind in KINDS:
            self._client.flush(f"{self._name}_{kind}")
        self.write_state(state)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        rows = self._get("users", user, ["embedding", "bias"])
        return (np.array(rows[0]["embedding"], np.float32), float(rows[0]["bias"])) if rows else None

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Searches with the metric ``IP``."""
        self._load("movies")
        found = self._client.search(
            f"{self._name}_movies",
            data=list(queries.astype(np.float32)),
            limit=top,
            filter="" if genre is None else f"array_contains(genres, {_literal(genre)})",
            output_fields=["title"],
        )
        return [[Hit(hit["id"], hit["distance"], hit["entity"]["title"]) for hit in hits] for hits in found]

    def close(self) -> None:
        """Closes the connection or the file."""
        self._client.close()

    def _get(self, kind: str, row: Id, fields: list[str]) -> list[dict]:
        self._load(kind)
        return self._client.query(f"{self._name}_{kind}", filter=_among([row]), output_fields=fields)

    def _load(self, kind: str) -> None:
        """Loads a collection, which Milvus Lite does not do by itself when it opens a file."""
        if kind not in self._loaded:
            self._client.load_collection(f"{self._name}_{kind}")
            self._loaded.add(kind)

    def _make(self, kind: str, ids: str, dim: int) -> None:
        types: Any = self._milvus.DataType
        schema = self._client.create_schema(auto_id=False)
        if ids == "integer":
            schema.add_field("id", types.INT64, is_primary=True)
        else:
            schema.add_field("id", types.VARCHAR, is_primary=True, max_length=_ID_BYTES)
        schema.add_field("embedding", types.FLOAT_VECTOR, dim=dim)
        if kind == "users":
            schema.add_field("bias", types.FLOAT)
        elif kind == "movies":
            schema.add_field("title", types.VARCHAR, max_length=_TEXT_BYTES)
            bounds = {"max_capacity": _GENRES, "max_length": _GENRE_BYTES}
            schema.add_field("genres", types.ARRAY, element_type=types.VARCHAR, **bounds)
        else:
            schema.add_field("state", types.VARCHAR, max_length=_TEXT_BYTES)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="IP")
        self._client.create_collection(
            f"{self._name}_{kind}", schema=schema, index_params=index, consistency_level="Strong"
        )


def _among(ids: list[Id]) -> str:
    """Returns a condition; the client writes ids that it is given into one without escaping quotes."""
    return f"id in [{', '.join(map(_literal, ids))}]"


def _literal(value: Id) -> str:
    """Returns an id or a genre as Milvus reads it."""
    return json.dumps(value, ensure_ascii=False)
