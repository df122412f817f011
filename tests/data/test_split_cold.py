"""Protocols that hold out whole movies or users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.prepared import TEST, TRAIN, VALIDATION
from tests.data.conftest import prepare_verified, raw_edges

COLUMNS = {"cold-movies": "movieId", "cold-users": "userId"}


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    """6,000 ratings of 400 users for 500 movies."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(400 * 500)[:6000]
    return pd.DataFrame({"userId": pairs // 500, "movieId": pairs % 500, "rating": rng.integers(1, 6, 6000)})


@pytest.mark.parametrize("protocol", COLUMNS)
def test_all_ratings_of_a_node_are_in_one_split(many, tmp_path, protocol):
    many.to_csv(tmp_path / "ratings.csv", index=False)
    edges = raw_edges(
        prepare_verified(tmp_path / "ratings.csv", tmp_path / "out", protocol=protocol, test=0.2, validation=0.25)
    )
    splits = edges.groupby(COLUMNS[protocol])["split"].agg(["min", "max"])
    assert (splits["min"] == splits["max"]).all()
    share = splits["min"].value_counts(normalize=True)
    assert share[TEST] == pytest.approx(0.2, abs=0.06) and share[VALIDATION] == pytest.approx(0.2, abs=0.06)
    other = "userId" if protocol == "cold-movies" else "movieId"
    assert edges.groupby(other)["split"].nunique().max() == 3


@pytest.mark.parametrize("protocol", COLUMNS)
def test_a_node_keeps_its_split_whatever_else_is_in_the_file(many, tmp_path, protocol):
    column = COLUMNS[protocol]
    some = many[many["userId"] % 3 > 0] if protocol == "cold-users" else many[many["movieId"] % 3 > 0]
    kept = []
    for name, table in (("all", many), ("some", some)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        edges = raw_edges(prepare_verified(tmp_path / f"{name}.csv", tmp_path / name, protocol=protocol, seed=4))
        kept.append(edges.drop_duplicates(column).set_index(column)["split"])
    assert (kept[0].loc[kept[1].index] == kept[1]).all() and set(kept[1]) == {TRAIN, VALIDATION, TEST}
