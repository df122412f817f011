"""Logs without ratings: the rating of a pair of user and movie is its number of events, with all engines."""

from __future__ import annotations

import filecmp

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.edges import sort_edges, sum_by_pair
from gnnrec.data.out_of_core import prepare as out_of_core
from gnnrec.data.out_of_core.size import Plan
from gnnrec.data.prepared import SPLIT_NAMES, TEST, TRAIN
from gnnrec.inference.new_users import read_new_users


def log(events: int = 900, seed: int = 0) -> pd.DataFrame:
    """Events of 25 users and 12 movies, most pairs more than once."""
    rng = np.random.default_rng(seed)
    user, movie = rng.integers(0, 25, events) ** 2 % 40, rng.integers(0, 12, events)
    return pd.DataFrame({"user": user, "movie": movie, "time": 1_500_000_000 + rng.permutation(events) * 1000})


@pytest.mark.parametrize("engine", ["memory", "stream"])
@pytest.mark.parametrize("protocol", ["random", "temporal", "leave-last", "strong"])
def test_ratings_are_numbers_of_events(tmp_path, prepared, edges, monkeypatch, engine, protocol):
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(37, 2))
    log().to_csv(tmp_path / "log.csv", index=False)
    options = {"protocol": protocol, "test": 0.2, "least_relevant": 2, "engine": engine, "shards": 3}
    data = prepared(tmp_path / "log.csv", tmp_path / "data", implicit=True, **options)
    expected = log().groupby(["user", "movie"]).agg(rating=("time", "size"), timestamp=("time", "max")).reset_index()
    found = edges(data)
    assert found["userId"].tolist() == expected["user"].tolist() and expected["rating"].max() > 4
    assert found["rating"].tolist() == expected["rating"].tolist()
    assert found["timestamp"].tolist() == expected["timestamp"].tolist()
    train = found["rating"][found["split"] == TRAIN]
    rating = data.manifest.rating
    assert (rating["min"], rating["max"]) == (1, expected["rating"].max())
    assert rating["levels"] == sorted(train.unique()) and rating["mean"] == pytest.approx(train.mean())
    assert data.manifest.counts["duplicates_dropped"] == len(log()) - len(expected)


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True])
def test_stream_and_memory_write_the_same_bytes(tmp_path, prepared, monkeypatch, given):
    monkeypatch.setattr(out_of_core, "plan", lambda layouts, options: Plan(37, 2))
    table = log().assign(split=np.random.default_rng(1).choice(SPLIT_NAMES[:3], len(log())))
    table.to_csv(tmp_path / "log.csv", index=False)
    options = {"implicit": True, "shards": 3} | ({"split_column": "split"} if given else {})
    engines = ("memory", "stream")
    first, second = (prepared(tmp_path / "log.csv", tmp_path / name, engine=name, **options) for name in engines)
    for name in ("rating.npy", "movie.npy", "split.npy", "manifest.json"):
        assert filecmp.cmp(first.directory / name, second.directory / name, shallow=False), name


def test_only_events_of_the_given_split_of_a_pair_count(tmp_path, prepared, edges):
    events = [(1, 7, 10, "train"), (1, 7, 20, "train"), (1, 7, 30, "test"), (2, 7, 10, "train"), (2, 7, 11, "train")]
    events += [(2, 8, 5, "test"), (1, 8, 5, "train")]
    table = pd.DataFrame(events, columns=["user", "movie", "time", "split"])
    table.to_csv(tmp_path / "log.csv", index=False)
    found = edges(prepared(tmp_path / "log.csv", tmp_path / "data", implicit=True, split_column="split"))
    assert found[["userId", "movieId", "rating", "split"]].values.tolist() == [
        [1, 7, 1, TEST],  # the latest event decides, and those of train do not count
        [1, 8, 1, TRAIN],
        [2, 7, 2, TRAIN],
        [2, 8, 1, TEST],
    ]


def test_sums_by_pair_equal_those_of_a_dictionary():
    rng = np.random.default_rng(3)
    user, movie, value = rng.integers(0, 9, 300), rng.integers(0, 8, 300).astype(np.int32), rng.integers(1, 5, 300)
    kept, _ = sort_edges(user, movie, None)
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(user.tolist(), movie.tolist(), value.tolist()):
        expected[pair[:2]] = expected.get(pair[:2], 0) + pair[2]
    found = sum_by_pair(user, movie, kept, value.astype(np.float32))
    assert found.tolist() == [expected[pair] for pair in zip(user[kept].tolist(), movie[kept].tolist())]
    assert found.dtype == np.float32


def test_the_summary_names_counted_events(tmp_path, prepared, capsys):
    log().to_csv(tmp_path / "log.csv", index=False)
    data = prepared(tmp_path / "log.csv", tmp_path / "data", implicit=True)
    assert f"{900 - data.num_ratings:,} further events of a pair counted" in capsys.readouterr().out


def test_files_of_users_add_events_to_those_of_the_dataset(tmp_path, prepared):
    log().to_csv(tmp_path / "log.csv", index=False)
    data = prepared(tmp_path / "log.csv", tmp_path / "data", implicit=True)
    user, movie = log()["user"][0], log()["movie"][0]
    more = pd.DataFrame({"user": [user, user, 99, 99, 99], "movie": [movie, movie, 1, 1, 2], "time": 1_600_000_000})
    more.to_csv(tmp_path / "more.csv", index=False)
    users = read_new_users(tmp_path / "more.csv", {}, data, tuple(range(len(SPLIT_NAMES))))
    row = {raw: number for number, raw in enumerate(users.users["user"])}
    raw = data.movies["movie"].to_numpy()

    def counts(number: int) -> dict[int, float]:
        own = slice(users.user_ptr[number], users.user_ptr[number + 1])
        return dict(zip(raw[users.movie[own]].tolist(), users.rating[own].tolist()))

    own = log()[log()["user"] == user].groupby("movie").size().to_dict()
    again = pd.concat([log()[log()["user"] == user], more])
    again.to_csv(tmp_path / "more.csv", index=False)  # the events of the dataset once more, and two new ones
    repeated = read_new_users(tmp_path / "more.csv", {}, data, tuple(range(len(SPLIT_NAMES))))
    assert sorted(repeated.rating.tolist()) == sorted(users.rating.tolist())
    assert counts(row[user]) == own | {movie: own[movie] + 2}
    assert counts(row[99]) == {1: 2, 2: 1}
