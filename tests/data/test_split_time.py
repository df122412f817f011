"""The protocol ``global-time`` against sorted times, and ``leave-last`` with all ratings relevant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gnnrec.data import split_time
from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from gnnrec.data.split_ranking import relevance
from gnnrec.errors import UserError
from tests.data.file_tables import assert_same_bytes, ratings


@pytest.fixture(autouse=True)
def small_splits(monkeypatch) -> None:
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(137, 2))


def nearest_cut(times: np.ndarray, target: float) -> int:
    """Tries every cut: the number of held-out ratings nearest to the target, the larger one of two."""
    candidates = [int((times >= time).sum()) for time in np.unique(times)] + [0]
    return min(candidates, key=lambda count: (abs(count - target), -count))


@pytest.mark.parametrize("spread", [1, 20, 10**5, 10**9])
@pytest.mark.parametrize("test, validation", [(0.1, 0.05), (0.3, 0.5), (0.0, 0.1), (0.2, 0.0), (0.0, 0.0)])
def test_cuts_hold_out_the_nearest_numbers_of_the_last_ratings(spread, test, validation):
    times = np.random.default_rng(0).integers(-spread, spread, 1000) + (1 if spread == 1 else 10**9)
    held_out_test = nearest_cut(times, test * 1000) if test else 0
    target = held_out_test + validation * (1000 - held_out_test)
    held_out = nearest_cut(times, target) if target else 0
    if held_out == 1000:
        with pytest.raises(UserError, match="leaves nothing to train on"):
            split_time.time_cuts([times], test, validation)
        return
    for parts in ([times], np.array_split(times, 7)):
        first, second = split_time.time_cuts(parts, test, validation)
        assert ((times >= second).sum(), (times >= first).sum()) == (held_out_test, held_out)


@pytest.mark.parametrize("unit", ["seconds", "days"])
def test_ratings_after_the_cut_are_test_for_all_users(tmp_path, prepared, unit):
    frame = ratings()
    if unit == "days":
        frame["time"] = frame["time"] // 10**7 * 10**7
    frame.to_csv(tmp_path / "a.csv", index=False)
    options = {"protocol": "global-time", "test": 0.2, "validation": 0.1, "shards": 4}
    for engine in ("memory", "stream"):
        data = prepared(tmp_path / "a.csv", tmp_path / engine, engine=engine, **options)
        times = {split: np.asarray(data.timestamp)[data.split == split] for split in (TRAIN, VALIDATION, TEST)}
        assert times[TRAIN].max() < times[VALIDATION].min() and times[VALIDATION].max() < times[TEST].min()
        if unit == "seconds":
            assert [len(times[split]) for split in (TRAIN, VALIDATION, TEST)] == [648, 72, 180]
    assert_same_bytes(tmp_path / "memory", tmp_path / "stream")


def test_times_are_needed_and_must_differ(tmp_path, prepared):
    ratings().drop(columns="time").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="--protocol global-time needs timestamps: name their column"):
        prepared(tmp_path / "a.csv", tmp_path / "out", protocol="global-time")
    ratings().assign(time=5).to_csv(tmp_path / "a.csv", index=False)
    for engine in ("memory", "stream"):
        with pytest.raises(UserError, match="global-time leaves nothing to train on: too few times are distinct"):
            prepared(tmp_path / "a.csv", tmp_path / "out", protocol="global-time", test=0.6, engine=engine)


@pytest.mark.parametrize("implicit", [False, True])
def test_the_last_rating_of_each_user_whatever_it_is(tmp_path, prepared, implicit):
    frame = ratings().assign(rating=lambda table: table.rating - 1)  # 0 is the lowest rating
    frame.drop(columns=["rating"] if implicit else []).to_csv(tmp_path / "a.csv", index=False)
    options = {"protocol": "leave-last", "shards": 4} | ({"implicit": True} if implicit else {"relevant": "none"})
    for engine in ("memory", "stream"):
        data = prepared(tmp_path / "a.csv", tmp_path / engine, engine=engine, **options)
        assert relevance(data.manifest) == (1.0 if implicit else 0.0)
        user = np.repeat(data.users["user"].to_numpy(), np.diff(data.user_ptr))
        movie = data.movies["movie"].to_numpy()[data.movie]
        actual = {
            split: set(zip(user[data.split == split], movie[data.split == split])) for split in (VALIDATION, TEST)
        }
        by_time = frame.sort_values("time").groupby("user")
        enough = by_time["movie"].transform("size") >= 3
        for split, place in ((TEST, -1), (VALIDATION, -2)):
            last = frame[enough.reindex(frame.index)].sort_values("time").groupby("user").nth(place)
            actual = set(zip(user[data.split == split], movie[data.split == split]))
            assert len(actual) > 50 and actual == set(zip(last["user"], last["movie"]))
        assert data.manifest.split["counts"]["unused"] == 0
    assert_same_bytes(tmp_path / "memory", tmp_path / "stream")


def test_relevance_is_a_number_or_none(tmp_path, prepared):
    ratings().to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="--relevant some: must be a number or none"):
        prepared(tmp_path / "a.csv", tmp_path / "out", relevant="some")
    data = prepared(tmp_path / "a.csv", tmp_path / "out", relevant="none")
    assert relevance(data.manifest) == 1.0 and pd.Series(data.split).nunique() == 3
