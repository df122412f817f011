"""Qdrant Edge: the engine of Qdrant in this process, with its files in a directory."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.stores.qdrant_points import BATCH, BUILD_WIDTH, LINKS, WIDTHS, payloads, point_id
from gnnrec.stores.store import EXACT, KINDS, Hit, Id, Kind, NodeRows, State, StoreLayout
from gnnrec.utils import files
from gnnrec.utils.stored import read_json

#: Up to this size, in KB of vectors, segments and filtered rows are scanned: the default of Qdrant.
_SCAN = 10_000


class QdrantEdge:
    """A directory with the shards ``NAME_users`` and ``NAME_movies``, and ``NAME_state.json``.

    Args:
        path: The directory, which is made if it is missing.
        name: Begin of the shards' names.

    Attributes:
        filter_aware: Index the genres of new shards.
    """

    widths: tuple[int, ...] = WIDTHS
    #: Qdrant Edge raises exceptions of Python alone.
    errors: tuple[type[Exception], ...] = (RuntimeError, OSError)

    def __init__(self, path: Path, name: str):
        import qdrant_edge

        self._edge: Any = qdrant_edge
        self.width, self.filter_aware = self.widths[0], True
        self._path, self._name = path, name
        self._shards: dict[str, Any] = {}
        path.mkdir(parents=True, exist_ok=True)

    @property
    def version(self) -> str:
        """Version of Qdrant Edge."""
        return f"Qdrant Edge {version('qdrant-edge-py')}"

    @property
    def settings(self) -> str:
        """The index, and the search width."""
        index = ", index of genres" if self.filter_aware else ""
        if self.width == EXACT:
            return f"exact scan{index}"
        return f"HNSW m {LINKS}, ef_construct {BUILD_WIDTH}, hnsw_ef {self.width}{index}"

    def read_state(self) -> State | None:
        """Reads the state."""
        path = self._state_file
        return read_json(path, "remove it, and load the export again") if path.exists() else None

    def write_state(self, state: State) -> None:
        """Replaces the state, once the rows are on disk."""
        for shard in self._shards.values():
            shard.flush()
        files.write_text(self._state_file, json.dumps(state))

    def occupied(self) -> bool:
        """Returns whether there are such directories."""
        return any(self._folder(kind).exists() for kind in KINDS)

    def create(self, layout: StoreLayout, state: State) -> None:
        """Makes empty shards, and an index of genres: searches then know how many movies pass, and scan where few do.

        The graph takes it into account as it is built.
        """
        edge = self._edge
        self.close()
        hnsw = edge.HnswIndexConfig(m=LINKS, ef_construct=BUILD_WIDTH, full_scan_threshold=_SCAN)
        for kind in KINDS:
            shutil.rmtree(self._folder(kind), ignore_errors=True)
            self._folder(kind).mkdir()
            plain = edge.EdgeOptimizersConfig(indexing_threshold=_SCAN if kind == "movies" else 2**40)
            config = edge.EdgeConfig(
                vectors=edge.EdgeVectorParams(size=layout.dim, distance=edge.Distance.Dot),
                hnsw_config=hnsw,
                optimizers=plain,
            )
            self._shards[kind] = edge.EdgeShard.create(str(self._folder(kind)), config)
        if self.filter_aware:
            index = edge.UpdateOperation.create_field_index("genres", edge.PayloadSchemaType.Keyword)
            self._shards["movies"].update(index)
        self.write_state(state)

    def upsert(self, rows: NodeRows, state: State) -> None:
        """Replaces points."""
        edge, shard = self._edge, self._shard(rows.kind)
        for batch in rows.batches(BATCH):
            parts = zip(map(point_id, batch.ids), batch.vectors.tolist(), payloads(batch), strict=True)
            shard.update(edge.UpdateOperation.upsert_points([edge.Point(*part) for part in parts]))
        self.write_state(state)

    def remove(self, kind: Kind, ids: list[Id], state: State) -> None:
        """Removes points by id."""
        for first in range(0, len(ids), BATCH):
            gone = list(map(point_id, ids[first : first + BATCH]))
            self._shard(kind).update(self._edge.UpdateOperation.delete_points(gone))
        self.write_state(state)

    def finish(self, state: State) -> None:
        """Builds the graph of movies."""
        for kind in KINDS:
            self._shard(kind).optimize()
        self.write_state(state)

    def find_user(self, user: Id) -> tuple[np.ndarray, float] | None:
        """Reads the vector and the bias of a user."""
        points = self._shard("users").retrieve([point_id(user)], with_payload=True, with_vector=True)
        return (np.array(points[0].vector, np.float32), points[0].payload["bias"]) if points else None

    def search(self, queries: np.ndarray, top: int, genre: str | None = None) -> list[list[Hit]]:
        """Searches with the distance ``Dot``."""
        edge, chosen = self._edge, None
        if genre is not None:
            chosen = edge.Filter(must=[edge.FieldCondition(key="genres", match=edge.MatchValue(genre))])
        params = edge.SearchParams(exact=True) if self.width == EXACT else edge.SearchParams(hnsw_ef=self.width)
        requests = [
            edge.QueryRequest(
                limit=top, query=edge.Query.Nearest(query), filter=chosen, params=params, with_payload=["id", "title"]
            )
            for query in queries.tolist()
        ]
        found = self._shard("movies").query_batch(edge.QueryBatchRequest(requests))
        return [[Hit(hit.payload["id"], hit.score, hit.payload["title"]) for hit in hits] for hits in found]

    def close(self) -> None:
        """Closes the shards."""
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    @property
    def _state_file(self) -> Path:
        return self._path / f"{self._name}_state.json"

    def _folder(self, kind: str) -> Path:
        return self._path / f"{self._name}_{kind}"

    def _shard(self, kind: str) -> Any:
        if kind not in self._shards:
            self._shards[kind] = self._edge.EdgeShard.load(str(self._folder(kind)))
        return self._shards[kind]
