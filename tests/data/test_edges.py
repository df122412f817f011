"""Sorting keeps one rating per pair of user and movie, the latest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gnnrec.data import blocks, edges

USER = np.array([1, 0, 1, 1, 0, 1], np.int32)
MOVIE = np.array([2, 1, 2, 0, 1, 2], np.int32)


@pytest.mark.parametrize(
    "timestamp, kept", [(None, [4, 3, 5]), ([9, 3, 5, 5, 2, 1], [1, 3, 0]), ([0, 0, 1, 0, 0, 1], [4, 3, 5])]
)
@pytest.mark.parametrize("users", [1, 1 << 30], ids=["packed", "too wide to pack"])
def test_latest_rating_is_kept(timestamp, kept, users):
    times = None if timestamp is None else np.array(timestamp)
    order, dropped = edges.sort_edges(USER * np.int64(users), MOVIE + np.int64(users - 1) * 1000, times)
    assert (order.tolist(), dropped) == (kept, 3)


def test_edges_are_sorted_by_user_and_movie(table):
    user, movie = table["userId"].to_numpy(), table["movieId"].to_numpy()
    order, dropped = edges.sort_edges(user, movie, None)
    assert dropped == 0 and np.array_equal(order, np.lexsort((movie, user)))


def test_reorder_users_moves_their_ratings():
    arrays = {"movie": np.array([0, 1, 2, 3, 4, 5])}
    pointers, reordered = edges.reorder_users(np.array([0, 2, 3, 6]), arrays, np.array([2, 0, 1]))
    assert pointers.tolist() == [0, 3, 5, 6] and reordered["movie"].tolist() == [3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize("factor", [1, 1 << 28], ids=["packed", "too wide to pack"])
@pytest.mark.parametrize("timed", [False, True])
def test_dropped_duplicates_across_blocks_equal_pandas(monkeypatch, factor, timed):
    monkeypatch.setattr(blocks, "_BLOCK", 7)
    rng = np.random.default_rng(1)
    user, movie, time = rng.integers(0, [[9], [11], [4]], (3, 500))
    table = pd.DataFrame({"user": user * factor, "movie": movie * factor, "time": time if timed else 0})
    kept = table.sort_values("time", kind="stable").groupby(["user", "movie"], sort=True).tail(1)
    expected = kept.sort_values(["user", "movie"]).index
    order, dropped = edges.sort_edges(user * factor, movie * factor, time if timed else None)
    assert order.tolist() == expected.tolist() and dropped == 500 - len(expected)


def test_row_pointers_of_users_with_and_without_ratings():
    pointers = edges.row_pointers(np.array([1, 1, 2, 5, 5, 5], np.int32), 7)
    assert pointers.dtype == np.int64 and pointers.tolist() == [0, 0, 2, 3, 3, 3, 6, 6]
