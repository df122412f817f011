"""The index of many movies, next to exact lists."""

from __future__ import annotations

import numpy as np
import pytest

from gnnrec.serving import index
from gnnrec.serving.app import create_app
from gnnrec.serving.convert import SERVED
from gnnrec.utils.stored import read_json
from tests.serving.client import ask, get
from tests.serving.float_export import make_float_export


@pytest.fixture
def indexed(dataset, tmp_path, monkeypatch):
    """A service whose 29 movies count as many."""
    monkeypatch.setattr(index, "FEW_MOVIES", 20)
    return create_app(make_float_export(dataset, tmp_path / "export", interest=3))


def test_lists_of_the_index_are_the_exact_ones_bit_for_bit(app, indexed, dataset, monkeypatch):
    entry = read_json(indexed.live.current.directory / SERVED, "")["index"]
    assert entry["probes"] == 4 and entry["recall@20"] == 1  # of all groups
    calls, near = [], index.MovieIndex.near
    monkeypatch.setattr(index.MovieIndex, "near", lambda *args: calls.append(args) or near(*args))
    for user in dataset.users["user"].tolist():
        for wanted in ({"top": 3}, {"top": 3, "page": 2}, {"genre": "drama"}, {"order_by": "rating"}, {"deny": 2}):
            exact, found = (ask(each, get("/recommend", user=user, **wanted)).json for each in (app, indexed))
            assert exact["movies"] == found["movies"]
    assert len(calls) == 3 * dataset.num_users  # not for ratings alone, and not without some movies
    dramas = [args for args in calls if args[4] is not None and args[4].mean() < 0.9]
    assert len(dramas) == dataset.num_users and all(near(*args) is None for args in dramas)  # all of them are scored


def test_filters_leave_movies_out_of_what_the_index_finds(indexed):
    found, snapshot = indexed.live.current.index, indexed.live.current
    vector, allowed = snapshot.user(0).vectors[0], ~np.isin(np.arange(29), [4, 9])
    everything = found.near(vector, 29, np.empty(0, np.int64))
    assert everything.tolist() == list(range(29))
    rows = found.near(vector, 3, np.array([0, 2]), allowed)
    assert len(rows) >= 3 and not {0, 2, 4, 9} & set(rows.tolist())
    scores = snapshot.ranker(None).scores(vector[None])[0]
    scores[~allowed], scores[[0, 2]] = -np.inf, -np.inf
    assert set(np.argsort(-scores)[:3].tolist()) <= set(rows.tolist())
    assert found.near(vector, 3, np.array([0, 2]), np.arange(29) % 2 == 0) is None  # too few pass


def test_users_who_rated_much_get_what_the_index_cannot_find(indexed, monkeypatch):
    vector, movies = indexed.live.current.user(0).vectors[0], np.arange(29)
    found = indexed.live.current.index
    assert found.near(vector, 3, movies[:27]) is None and found.near(vector, 2, movies[:27]).tolist() == [27, 28]
    assert found.near(vector, 3, np.arange(1000)) is None


def test_few_movies_have_no_index(app):
    assert app.live.current.index is None


def test_enough_groups_are_searched_for_the_recall(dataset):
    rng = np.random.default_rng(0)
    from gnnrec.inference.scoring import Scoring

    movies = rng.normal(size=(3000, 8)).astype(np.float32)
    users = rng.normal(size=(100, 8)).astype(np.float32)
    bias = rng.normal(size=3000).astype(np.float32)
    exact = np.argsort(-(users @ movies.T + bias), 1, kind="stable")[:, :20]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "FEW_MOVIES", 100)
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as place:
            entry = index.write_index(Scoring(movies, bias, 0.0, None, {}), users, Path(place))
            found = index.open_index(Path(place), entry)
            rows = [found.near(user, 20, np.empty(0, np.int64)) for user in users]
    hits = sum(len(np.intersect1d(one, other)) for one, other in zip(rows, exact))
    assert entry["probes"] < 64 and hits / exact.size >= 0.99 and entry["recall@20"] >= index.WANTED_RECALL
