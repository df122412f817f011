"""Movies of the catalog without ratings, which prepare keeps: features as of cold movies, titles of the movies file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.features.new_movies import UNRATED_FILE, read_unrated
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.errors import UserError
from tests.data.feature_tables import movies, ratings

pytestmark = pytest.mark.slow

MOVIES = 40
#: Ratings of these are taken away.
UNRATED = [4, 8, 31]


def write(directory: Path, out: str, rated: pd.DataFrame, prefix: str = "", **options) -> PreparedDataset:
    """Prepares ratings with features of all movies, and titles of all and of one more."""
    for name, table in (("ratings", rated), ("features", movies())):
        table = table.assign(movie=prefix + table["movie"].astype(str)) if prefix else table
        table.to_parquet(directory / f"{name}.parquet")
    number = [prefix + str(k + 1) for k in range(MOVIES + 1)]
    titles = pd.DataFrame({"movie": number, "title": [f"Film {k}" for k in number], "genres": "Drama|War"})
    titles.to_csv(directory / "titles.csv", index=False)
    paths = {"ratings": directory / "ratings.parquet", "movies": directory / "titles.csv"}
    features = [str(directory / "features.parquet")]
    prepare(directory / out, PrepareOptions(**paths, movie_features=features, split_column="split", **options))
    return PreparedDataset(directory / out)


@pytest.mark.parametrize("prefix", ["", "m"])
def test_they_have_the_features_of_movies_in_the_test_split(tmp_path, prefix):
    """Nothing is learned from either."""
    cold = ratings()
    cold.loc[cold["movie"].isin(UNRATED), "split"] = "test"
    whole = write(tmp_path, "whole", cold, prefix)
    some = write(tmp_path, "some", cold[~cold["movie"].isin(UNRATED)], prefix)
    unrated = read_unrated(some)
    names = [prefix + str(k) if prefix else k for k in UNRATED]
    last = f"{prefix}{MOVIES + 1}" if prefix else MOVIES + 1
    assert unrated.ids.to_pylist() == [*names, last] and len(unrated) == len(UNRATED) + 1
    table = unrated.table.to_pandas()
    assert table["title"].tolist() == [f"Film {k}" for k in [*names, last]] and set(table["genres"]) == {"Drama|War"}
    rows = whole.movies.set_index("movie")["row"].loc[names].to_numpy()
    np.testing.assert_array_equal(unrated.x[:-1], whole.features("movie").x[rows])
    flags = [group.slice.stop - 1 for group in some.features("movie").schema if group.details["missing"]]
    assert not np.delete(unrated.x[-1], flags).any()  # in no table of features
    only_movie = read_unrated(whole)
    assert only_movie.ids.to_pylist() == [last]


def test_every_engine_writes_the_same_bytes(tmp_path):
    rated = ratings()
    rated = rated[~rated["movie"].isin(UNRATED)]
    content = {
        engine: (write(tmp_path, engine, rated, engine=engine).directory / UNRATED_FILE).read_bytes()
        for engine in ("memory", "stream")
    }
    assert content["memory"] == content["stream"]


def test_they_can_be_left_out_and_damage_is_found(tmp_path):
    rated = ratings()
    dataset = write(tmp_path, "data", rated)
    path = dataset.directory / UNRATED_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{UNRATED_FILE} does not match its checksum: run gnnrec prepare again"):
        read_unrated(dataset)
    path.unlink()
    with pytest.raises(UserError, match=f"{UNRATED_FILE} is missing: run gnnrec prepare again"):
        read_unrated(dataset)
    without = write(tmp_path, "without", rated, unrated_movies=False)
    assert read_unrated(without) is None and UNRATED_FILE not in without.manifest.files
