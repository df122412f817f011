"""The tables and the graph of pgvector."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from gnnrec.stores.export_rows import ExportRows
from gnnrec.stores.loading import load
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.store import NodeRows, StoreLayout
from tests.stores.generations import check_content

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dim", [2000, 2001, 2500])
def test_vectors_that_fill_a_page_are_stored_and_found(server, name, dim):
    """The widest ones with an index, and those that are scanned."""
    vectors = np.random.default_rng(0).integers(-9, 9, (5, dim)).astype(np.float32)
    zeros, ids = np.zeros(5, np.float32), [1, 2, 3, 4, 5]
    state = {"layout": {"dim": dim, "users": "integer", "movies": "integer"}}
    with opened_store(server, name) as store:
        store.create(StoreLayout(**state["layout"]), state)
        store.upsert(NodeRows("users", ids, vectors, zeros, [], []), state)
        store.upsert(NodeRows("movies", ids, vectors, zeros, ["A long title " * 20] * 5, [["Drama"]] * 5), state)
        store.finish(state)
        assert store.settings.startswith("HNSW" if dim == 2000 else "exact scan")
        np.testing.assert_array_equal(store.find_user(3)[0], vectors[2])
        (hits,) = store.search(vectors[2:3], 5, "Drama")
    expected = vectors[2].astype(np.float64) @ vectors.T
    assert [hit.score for hit in hits] == sorted(expected, reverse=True) and hits[0].movie == 3


@pytest.mark.parametrize(("given", "least"), [("300MB", "300MB"), ("1MB", "3MB")])
def test_a_graph_gets_the_memory_that_it_needs(server, name, given, least):
    vectors, ids = np.random.default_rng(0).standard_normal((3000, 8)).astype(np.float32), list(range(3000))
    state = {"layout": {"dim": 8, "users": "integer", "movies": "integer"}}
    with opened_store(server, name) as store:
        store.create(StoreLayout(**state["layout"]), state)
        store.upsert(NodeRows("movies", ids, vectors, vectors[:, 0], [""] * 3000, [[]] * 3000), state)
        store._execute(f"SET maintenance_work_mem = '{given}'")
        notices = []
        store._connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        store.finish(state)
        fits = "SELECT pg_size_bytes(current_setting('maintenance_work_mem')) >= pg_size_bytes(%s)"
        assert store._execute(fits, least).fetchone() == (True,)
    assert not any("no longer fits" in notice for notice in notices)


def test_a_graph_is_built_by_one_process_where_workers_have_no_shared_memory(server, name, generations, monkeypatch):
    """As in a container whose /dev/shm is small."""
    failed = []
    with opened_store(server, name) as store:
        execute = store._execute

        def without_shared_memory(statement: str, *values):
            if statement.startswith("CREATE INDEX") and "hnsw" in statement:
                (workers,) = execute("SHOW max_parallel_maintenance_workers").fetchone()
                if workers != "0":
                    failed.append(statement)
                    raise psycopg.errors.DiskFull("could not resize shared memory segment: No space left on device")
            return execute(statement, *values)

        monkeypatch.setattr(store, "_execute", without_shared_memory)
        assert load(store, ExportRows(generations.exports[0]), "here") and len(failed) == 1
        assert store.settings.startswith("HNSW")
    check_content(server, name, generations, 0)
