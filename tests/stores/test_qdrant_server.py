"""Loads into a Qdrant server, played by the local mode of its client: only the settings and the waiting are tested."""

from __future__ import annotations

import types

import pytest
from qdrant_client import QdrantClient, models

from gnnrec.errors import UserError
from gnnrec.stores import qdrant_store
from gnnrec.stores.qdrant_store import Qdrant
from gnnrec.stores.store import StoreLayout


class Server:
    """A client whose movies have the given states, one at each look."""

    def __init__(self, states: list[str]):
        self.states, self.calls, self.client = states, [], QdrantClient(":memory:")

    def __getattr__(self, method: str):
        def call(*arguments, **words):
            self.calls.append((method, arguments, words))
            if method == "get_collection":
                status = models.CollectionStatus(self.states.pop(0))
                return types.SimpleNamespace(status=status, optimizer_status=types.SimpleNamespace(error="full"))
            return None if method == "update_collection" else getattr(self.client, method)(*arguments, **words)

        return call


def loaded(monkeypatch, states: list[str]) -> Server:
    server, given = Server(states), []
    monkeypatch.setattr("qdrant_client.QdrantClient", lambda **words: given.append(words) or server)
    monkeypatch.setattr(qdrant_store, "_PAUSE", 0)
    store = Qdrant("http://127.0.0.1:1", "made")
    assert given[0]["url"] == "http://127.0.0.1:1" and given[0]["timeout"] >= 30
    store.create(StoreLayout(4, "integer", "integer"), {})
    store.finish({"is": "finished"})
    assert store.read_state() == {"is": "finished"}
    return server


def test_a_load_waits_until_the_graph_is_there(monkeypatch):
    server = loaded(monkeypatch, ["yellow", "grey", "grey", "yellow", "green"])
    assert server.states == []
    methods = [name for name, _, _ in server.calls]
    assert methods.count("update_collection") == 1
    assert methods.index("create_payload_index") < methods.index("get_collection")
    made = {arguments[0]: words for name, arguments, words in server.calls if name == "create_collection"}
    links = {name: words["hnsw_config"].m for name, words in made.items()}
    assert links == {"made_users": 0, "made_movies": qdrant_store.LINKS, "made_state": 0}


def test_a_graph_that_cannot_be_built_is_one_line(monkeypatch):
    with pytest.raises(UserError, match=r"cannot build the graph of made_movies \(full\)"):
        loaded(monkeypatch, ["yellow", "red"])
