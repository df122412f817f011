"""New users and movies get the features of their tables, encoded as those of the dataset, or flags for missing ones."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.data.features.new_movies import read_unrated
from gnnrec.data.growth.compact import CompactOptions, compact
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.data.verify import VerifyDataOptions, verify_data
from tests.data.growth.days import write_days


@pytest.fixture
def features(days, tmp_path) -> pd.DataFrame:
    """Features of all movies, in ``old.csv`` and ``new.csv``; ages of some users of the first day in ``users.csv``."""
    rng = np.random.default_rng(0)
    movies = np.sort(pd.concat(days)["movie"].unique())
    table = pd.DataFrame(
        {"movie": movies, "year": rng.integers(1950, 2020, len(movies)), "kind": rng.choice(["a", "b"], len(movies))}
    )
    old = table["movie"].isin(days[0]["movie"])
    table[old].to_csv(tmp_path / "old.csv", index=False)
    table.loc[table.index[0], "year"] += 3  # a movie of the first day whose row changes
    table[~old | (table.index == 0)].to_csv(tmp_path / "new.csv", index=False)
    users = days[0]["user"].unique()[3:]
    pd.DataFrame({"user": users, "age": rng.integers(18, 80, len(users))}).to_csv(tmp_path / "users.csv", index=False)
    return table


def test_features_of_new_nodes(days, features, tmp_path):
    paths, data = write_days(days, tmp_path), tmp_path / "data"
    given = {"movie_features": [str(tmp_path / "old.csv")], "user_features": [str(tmp_path / "users.csv")]}
    prepare(data, PrepareOptions(ratings=paths[0], shards=4, **given))
    shutil.copytree(data, tmp_path / "first")
    first = PreparedDataset(tmp_path / "first")
    run_command(["prepare", str(data), "--append", str(paths[1]), "--movie-features", str(tmp_path / "new.csv")])
    run_command(["prepare", str(data), "--append", str(paths[2])])
    grown = PreparedDataset(data)
    verify_data(data, VerifyDataOptions())
    year, age = (grown.features(node).schema[0] for node in ("movie", "user"))
    x = grown.features("movie").read()
    same = (grown.movies["movie"] != features["movie"][0]).to_numpy()[: first.num_movies]
    is_same = (x[: first.num_movies] == first.features("movie").x).all(1)
    assert np.array_equal(is_same, same) and not same.all()
    assert grown.num_movies > first.num_movies
    years = features.set_index("movie")["year"].loc[grown.movies["movie"]]
    expected = (years - year.details["mean"]) / year.details["deviation"]
    np.testing.assert_allclose(x[:, year.first], expected, rtol=1e-5)
    ages = grown.features("user").read()
    assert age.details["missing"] and np.array_equal(ages[: first.num_users], first.features("user").x)
    assert grown.num_users > first.num_users and (ages[first.num_users :] == [0, 1]).all()
    compact(data, CompactOptions())
    folded = PreparedDataset(data)
    verify_data(data, VerifyDataOptions())
    for node in ("user", "movie"):
        rows = np.load(folded.path(f"{node}_rows_before.npy"))
        assert np.array_equal(folded.features(node).read(), grown.features(node).read()[rows])
    user = folded.users["user"].iloc[5]
    kept, ages = folded.users["user"] != user, folded.features("user").read()
    run_command(["prepare", str(data), "--forget-user", str(user), "--receipt", str(tmp_path / "receipt.json")])
    assert np.array_equal(PreparedDataset(data).features("user").read(), ages[kept])
    verify_data(data, VerifyDataOptions())


def test_movies_of_the_catalog_bring_their_features_with_their_first_ratings(days, features, tmp_path):
    """The table has all movies when the dataset is prepared: those without ratings are kept beside it."""
    paths, data = write_days(days, tmp_path), tmp_path / "data"
    features.to_csv(tmp_path / "all.csv", index=False)
    prepare(data, PrepareOptions(ratings=paths[0], shards=4, movie_features=[str(tmp_path / "all.csv")]))
    before = read_unrated(PreparedDataset(data))
    run_command(["prepare", str(data), "--append", str(paths[1])])
    grown = PreparedDataset(data)
    x, ids = grown.features("movie").read(), grown.movies["movie"]
    catalog = pd.Series(range(len(before)), before.ids.to_pandas())
    new = ids.isin(catalog.index).to_numpy()
    assert new.sum() > 1
    assert np.array_equal(x[new], before.x[catalog[ids[new]]])
    left = read_unrated(grown)
    unrated = set() if left is None else set(left.ids.to_pylist())
    assert unrated == set(catalog.index) - set(ids)
