"""Static orders of edges, against sorting by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gnnrec.kernels import ragged
from gnnrec.kernels.edge_orders import EdgeOrders
from tests.kernels.rating_examples import MOVIES, WINDOWS, as_tensors, cells_of, some_edges

USERS, EVERY = some_edges()
EDGES = as_tensors(USERS, torch.float32)
CELLS = cells_of(EVERY)
MOVIE = np.array([edge.movie for edge in EVERY])
USER = np.array([edge.user for edge in EVERY])


def test_edges_are_sorted_by_movie_then_time_then_user():
    order = EDGES.orders.by_movie
    year = np.array([edge.time // WINDOWS.movie_half_width for edge in EVERY])
    expected = np.lexsort((np.arange(len(EVERY)), year, MOVIE))
    assert order.order.tolist() == expected.tolist()
    assert order.user.tolist() == USER[expected].tolist()
    assert order.movie_pointer.diff().tolist() == np.bincount(MOVIE, minlength=MOVIES).tolist()
    assert order.cell_movie.tolist() == [movie for movie, _ in CELLS]
    counts = [sum((e.movie, e.time // WINDOWS.movie_half_width) == cell for e in EVERY) for cell in CELLS]
    assert order.cell_pointer.diff().tolist() == counts
    assert EDGES.fold_by_movie.tolist() == [EVERY[place].fold for place in expected]


def test_edges_without_times_are_sorted_by_movie_then_user():
    order = EdgeOrders(EDGES.pointer, EDGES.movie, MOVIES).by_movie
    expected = np.argsort(MOVIE, kind="stable")
    assert order.order.tolist() == expected.tolist() and order.user.tolist() == USER[expected].tolist()
    assert order.movie_pointer.diff().tolist() == np.bincount(MOVIE, minlength=MOVIES).tolist()
    assert order.cell_pointer is None and order.cell_movie is None


@pytest.mark.parametrize("most", [1, 12, 40, 1000])
def test_blocks_of_users_cover_all_edges(most):
    blocks, degree = EDGES.orders.user_blocks(most), [len(rated) for rated in USERS]
    assert [user for users, _ in blocks for user in users] == list(range(len(USERS)))
    assert [edge for _, edges in blocks for edge in edges] == list(range(len(EVERY)))
    for users, edges in blocks:
        assert len(edges) == sum(degree[user] for user in users)
        assert len(edges) <= most or len(users) == 1
    assert len(blocks) == 1 or most < len(EVERY)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_entries_are_sorted_stably_in_blocks(monkeypatch, at_once):
    monkeypatch.setattr(ragged, "SORTED_AT_ONCE", at_once)
    pointer, order = ragged._sorted_in_blocks(EDGES.movie, MOVIES)
    assert order.tolist() == np.argsort(MOVIE, kind="stable").tolist() and order.dtype == torch.int32
    assert pointer.diff().tolist() == np.bincount(MOVIE, minlength=MOVIES).tolist()
