"""Shards are contiguous, not empty, and have about equal numbers of ratings."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from gnnrec.data import order
from gnnrec.errors import UserError


def pointers(ratings) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(ratings)])


def test_balanced_shards_are_equal_up_to_a_user():
    rng = np.random.default_rng(0)
    ratings = rng.integers(20, 200, 5000)
    user_ptr = pointers(ratings)
    bounds = order.balanced_shards(user_ptr, 64)
    edges = np.diff(user_ptr[bounds])
    assert (bounds[0], bounds[-1], len(bounds)) == (0, 5000, 65)
    assert np.abs(edges - edges.mean()).max() <= ratings.max()
    assert order.imbalance(user_ptr, bounds) == edges.max() / edges.mean() < 1.06


@pytest.mark.parametrize(
    "ratings, shards, bounds",
    [
        ([1, 1, 1], 8, [0, 1, 2, 3]),
        ([100, 1, 1, 1], 3, [0, 1, 2, 4]),
        ([1, 1, 1, 100], 3, [0, 2, 3, 4]),
        ([1, 1, 100, 1, 1], 5, [0, 1, 2, 3, 4, 5]),
        ([5, 5], 1, [0, 2]),
    ],
)
def test_no_shard_is_empty(ratings, shards, bounds):
    assert order.balanced_shards(pointers(ratings), shards) == bounds


def test_order_depends_on_ids_and_seed_only():
    ids = np.array([11, 5, 900, -4])
    first = ids[order.balanced_order(ids, 3)]
    shuffled = ids[[2, 0, 3, 1]]
    assert np.array_equal(first, shuffled[order.balanced_order(shuffled, 3)])
    many = np.arange(1000)
    assert not np.array_equal(order.balanced_order(many, 0), order.balanced_order(many, 1))
    assert sorted(order.balanced_order(many, 0).tolist()) == many.tolist()


def test_metis_groups_users_of_the_same_movies():
    pytest.importorskip("pymetis")
    rng = np.random.default_rng(0)
    users, movies_each, taste = 400, 20, rng.integers(0, 4, 400)  # four groups that share no movie
    movie = np.concatenate([np.sort(rng.choice(50, movies_each, False)) + 50 * group for group in taste])
    user_ptr = np.arange(users + 1) * movies_each
    part = order.metis_parts(user_ptr, movie.astype(np.int32), 200, 4, seed=0)
    agreement = pd.crosstab(taste, part).to_numpy()
    assert agreement.max(1).sum() / users > 0.9
    old_rows, bounds = order.parts_to_order(part)
    assert np.array_equal(part[old_rows], np.sort(part)) and (np.diff(bounds) > 0).all()
    assert order.imbalance(user_ptr, bounds) < 1.2


def test_metis_weighs_users_by_their_ratings(tmp_path, prepared, edges):
    pytest.importorskip("pymetis")
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:03}", movie, 3 + user % 2)
        for user, ratings in enumerate(np.clip(rng.lognormal(2.5, 1, 300), 2, 90).astype(int))
        for movie in rng.choice(100, ratings, False)
    ]
    table = pd.DataFrame(rows, columns=["user", "item", "score"])
    table.to_csv(tmp_path / "a.csv", index=False)
    data = prepared(tmp_path / "a.csv", tmp_path / "out", order="metis", shards=8)
    assert (data.manifest.order, len(data.manifest.shards)) == ("metis", 9)
    assert order.imbalance(data.user_ptr, data.manifest.shards) < 1.25
    balanced = prepared(tmp_path / "a.csv", tmp_path / "balanced", shards=8)
    pd.testing.assert_frame_equal(edges(data), edges(balanced))  # including the split
    assert data.users["user"].tolist() != balanced.users["user"].tolist()
    table.sample(frac=1, random_state=1).to_csv(tmp_path / "b.csv", index=False)
    assert prepared(tmp_path / "b.csv", tmp_path / "again", order="metis", shards=8).fingerprint == data.fingerprint


def test_every_metis_part_gets_a_user():
    pytest.importorskip("pymetis")
    part = order.metis_parts(np.arange(0, 21, 2), np.tile(np.array([0, 1], np.int32), 10), 2, 10, seed=0)
    assert sorted(part.tolist()) == list(range(10))


def test_metis_without_pymetis_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(UserError, match=r"--order metis needs the pymetis package: pip install gnnrec\[metis\]"):
        order.metis_parts(np.array([0, 1, 2]), np.zeros(2, np.int32), 1, 2, seed=0)
