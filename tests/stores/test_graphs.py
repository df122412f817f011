"""Searches by a graph, which the stores of other tests are too small for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gnnrec.stores import qdrant_edge_store
from gnnrec.stores.export_rows import evened, reach_of
from gnnrec.stores.open_store import opened_store
from gnnrec.stores.pgvector import PgVector
from gnnrec.stores.recall import ExactLists, search
from gnnrec.stores.store import EXACT, NodeRows, StoreLayout, VectorStore

pytestmark = pytest.mark.slow

COUNT, DIM, USERS = 3000, 64, 60
#: Genre -> the share of movies that have it.
SHARES = {"Drama": 0.5, "Film-Noir": 0.03}


@pytest.fixture(scope="module")
def movies() -> NodeRows:
    """Movies without the last column."""
    rng = np.random.default_rng(0)
    vectors = falling(rng, COUNT)
    genres = [[name for name, share in SHARES.items() if rng.random() < share] for _ in range(COUNT)]
    zeros = np.zeros(COUNT, np.float32)
    return NodeRows("movies", list(range(COUNT)), vectors, zeros, [""] * COUNT, genres)


@pytest.fixture(scope="module")
def users() -> np.ndarray:
    return np.hstack([falling(np.random.default_rng(1), USERS), np.zeros((USERS, 1), np.float32)])


def falling(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Draws vectors whose columns fall in size, as those of a factorization do."""
    return (rng.standard_normal((rows, DIM)) / np.sqrt(np.arange(1, DIM + 1))).astype(np.float32)


def with_vectors(movies: NodeRows, vectors: np.ndarray) -> NodeRows:
    return dataclasses.replace(movies, vectors=vectors)


def filled(store: VectorStore, movies: NodeRows) -> None:
    """Loads movies; searches use the graph wherever they can."""
    state = {"layout": {"dim": DIM + 1, "users": "integer", "movies": "integer"}}
    store.create(StoreLayout(**state["layout"]), state)
    store.upsert(movies, state)
    if isinstance(store, PgVector):
        for scan in ("seqscan", "bitmapscan"):
            store._execute(f"SET enable_{scan} = off")
    store.finish(state)


@pytest.fixture(params=["pgvector", "qdrant edge"])
def place(request, tmp_path, monkeypatch) -> str:
    """The address of a store with a small graph."""
    monkeypatch.setattr(qdrant_edge_store, "_SCAN", 10)
    monkeypatch.setattr(qdrant_edge_store, "LINKS", 4)
    monkeypatch.setattr(qdrant_edge_store, "BUILD_WIDTH", 20)
    monkeypatch.setattr(PgVector, "links", 4)
    monkeypatch.setattr(PgVector, "build_width", 20)
    return request.getfixturevalue("server") if request.param == "pgvector" else f"qdrant:{tmp_path}"


def test_a_graph_finds_more_of_movies_with_evened_lengths(place, name, movies, users):
    found = {}
    for kind, vectors in (
        ("plain", np.hstack([movies.vectors, np.zeros((COUNT, 1), np.float32)])),
        ("evened", evened(movies.vectors, reach_of(movies.vectors))),
    ):
        rows = with_vectors(movies, vectors)
        best = ExactLists(users, rows)
        with opened_store(place, f"{name}{kind}") as store:
            filled(store, rows)
            for width in (store.widths[0], store.widths[2], EXACT):
                store.width = width
                found[kind, width] = best.recall(search(store, users))
                assert ("exact" in store.settings) == (width == EXACT)
    exact, narrow, wide = sorted({width for _, width in found})
    assert found["plain", exact] == found["evened", exact] == 1
    assert found["plain", narrow] < found["plain", wide] < 1, "a graph is not exact"
    assert found["evened", narrow] > found["plain", narrow] + 0.1
    assert found["evened", wide] > found["plain", wide]


@pytest.mark.parametrize("longest", [0.0, 4.0, 9.0])
def test_the_last_column_halves_what_a_length_lacks(longest):
    """That is all it does: no product changes, and longer movies than any before have a 0."""
    vectors = np.array([[3, 0], [0, 2], [1, 1], [0, 0]], np.float32)
    found, squares = evened(vectors, longest), np.array([9, 4, 2, 0])
    np.testing.assert_array_equal(found[:, :2], vectors)
    expected = np.where(squares < longest, (squares + longest) / 2, squares)
    np.testing.assert_allclose((found**2).sum(1), expected, rtol=1e-6)
    assert found.dtype == np.float32 and reach_of(vectors) == 1.5 * 9 and reach_of(vectors[:0]) == 0


def test_a_search_by_a_graph_fills_lists_of_a_rare_genre(place, name, movies, users):
    rows = with_vectors(movies, evened(movies.vectors, reach_of(movies.vectors)))
    with opened_store(place, name) as store:
        filled(store, rows)
        for genre in SHARES:
            best, lists = ExactLists(users, rows, genre), search(store, users, genre)
            assert {len(hits) for hits in lists} == {20}
            for query, hits in zip(users, lists):
                scores = [hit.score for hit in hits]
                assert scores == sorted(scores, reverse=True) and len({hit.movie for hit in hits}) == 20
                assert all(genre in rows.genres[hit.movie] for hit in hits)
                np.testing.assert_allclose(scores, [rows.vectors[hit.movie] @ query for hit in hits], atol=1e-4)
            assert best.recall(lists) > 0.8
        if isinstance(store, PgVector):
            store.filter_aware = False
            assert max(map(len, search(store, users, "Film-Noir"))) < 20, "the graph alone finds few"
