"""Qdrant through its client: a server, or the client's own exact search in a directory."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from typing import Any

import numpy as np

from gnnrec.errors import UserError
from gnnrec.stores.qdrant_points import BATCH, BUILD_WIDTH, LINKS, WIDTHS, payloads, point_id
from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout

#: Seconds to wait for an answer of a server, and between two looks at its graph.
_TIMEOUT, _PAUSE = 60, 0.5


class Qdrant:
    """A server; collections ``NAME_users``, ``NAME_movies`` and ``NAME_state``.

    Args:
        place: ``http://HOST:PORT``, or a directory for the client's local mode, which is meant for up to 20,000 rows.
        name: Begin of the collections' names.
    """

    def __init__(self, place: str, name: str):
        import httpx
        import qdrant_client
        from qdrant_client.http import exceptions

        self._is_local = "://" not in place
        self.errors: tuple[type[Exception], ...] = (exceptions.ApiException, httpx.HTTPError, ValueError, OSError)
        self.widths: tuple[int, ...] = (EXACT,) if self._is_local else WIDTHS
        self.width, self._name = self.widths[0], name
        self._models: Any = qdrant_client.models
        where: dict[str, Any] = {"path": place} if self._is_local else {"url": place, "timeout": _TIMEOUT}
        self._client = qdrant_client.QdrantClient(**where)

    @property
    def version(self) -> str:
        """Version of the server, or of the client in its local mode."""
        client = f"qdrant-client {version('qdrant-client')}"
        return f"{client} in local mode" if self._is_local else f"Qdrant {self._client.info().version}, {client}"

    @property
    def settings(self) -> str:
        """The index, and the search width."""
        if self.width == EXACT:
            return "exact scan, index of genres" if not self._is_local else "exact scan"
        return f"HNSW m {LINKS}, ef_construct {BUILD_WIDTH}, hnsw_ef {self.width}, index of genres"

    def read_state(self) -> State | None:
        """Reads the state."""
        if not self._client.collection_exists(f"{self._name}_state"):
            return None
        points = self._client.retrieve(f"{self._name}_state", [0])
        return json.loads(points[0].payload["state"]) if points else None

    def write_state(self, state: State) -> None:
        """Replaces the state."""
        if not self._client.collection_exists(f"{self._name}_state"):
            self._make("state", 1)
        batch = self._models.Batch(ids=[0], vectors=[[1.0]], payloads=[{"state": json.dumps(state)}])
        self._client.upsert(f"{self._name}_state", batch, wait=True)

    def occupied(self) -> bool:
        """Returns whether there are such collections."""
        return any(self._client.collection_exists(f"{self._name}_{kind}") for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty collections, and an index of genres, which the graph takes into account as it is built."""
        for kind in KINDS:
            self._client.delete_collection(f"{self._name}_{kind}")
            self._make(kind, layout.dim)
        if not self._is_local:
            self._client.create_payload_index(f"{self._name}_movies", "genres", self._models.PayloadSchemaType.KEYWORD)
        self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Replaces points."""
        for batch in rows.batches(BATCH):
            points = self._models.Batch(
                ids=list(map(point_id, batch.ids)), vectors=batch.vectors.tolist(), payloads=payloads(batch)
            )
            self._client.upsert(f"{self._name}_{rows.kind}", points, wait=True)
        self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes points by id."""
        for first in range(0, len(ids), BATCH):
            points = self._models.PointIdsList(points=list(map(point_id, ids[first : first + BATCH])))
            self._client.delete(f"{self._name}_{kind}", points, wait=True)
        self.write_state(state)

    def finish(self, state: State) -> None:
        """Waits for the graph, which a server builds in the background: it scans what has no graph yet.

        Raises:
            UserError: The server cannot build it.
        """
        if not self._is_local:
            self._wait_for_graph(f"{self._name}_movies")
        self.write_state(state)

    def _wait_for_graph(self, collection: str) -> None:
        status, asked = self._models.CollectionStatus, False
        while (found := self._client.get_collection(collection)).status != status.GREEN:
            if found.status == status.RED:
                reason = getattr(found.optimizer_status, "error", "its status is red")
                raise UserError(f"Qdrant cannot build the graph of {collection} ({reason}): see the log of the server")
            if found.status == status.GREY and not asked:  # a server that was restarted waits to be asked
                self._client.update_collection(collection, optimizers_config=self._models.OptimizersConfigDiff())
                asked = True
            time.sleep(_PAUSE)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        points = self._client.retrieve(f"{self._name}_users", [point_id(user)], with_vectors=True)
        return (np.array(points[0].vector, np.float32), points[0].payload["bias"]) if points else None

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Searches with the distance ``Dot``."""
        models = self._models
        chosen = None
        if genre is not None:
            chosen = models.Filter(must=[models.FieldCondition(key="genres", match=models.MatchValue(value=genre))])
        params = None  # the local mode warns of any
        if not self._is_local:
            params = models.SearchParams(**({"exact": True} if self.width == EXACT else {"hnsw_ef": self.width}))
        requests = [
            models.QueryRequest(query=query, limit=top, filter=chosen, params=params, with_payload=["id", "title"])
            for query in queries.tolist()
        ]
        found = self._client.query_batch_points(f"{self._name}_movies", requests)
        return [[Hit(hit.payload["id"], hit.score, hit.payload["title"]) for hit in hits.points] for hits in found]

    def close(self) -> None:
        """Closes the connection or the directory."""
        self._client.close()

    def _make(self, kind: str, dim: int) -> None:
        models, links = self._models, LINKS if kind == "movies" else 0  # rows of users are read by id alone
        self._client.create_collection(
            f"{self._name}_{kind}",
            vectors_config=models.VectorParams(size=dim, distance=models.Distance.DOT),
            hnsw_config=models.HnswConfigDiff(m=links, ef_construct=BUILD_WIDTH),
        )
