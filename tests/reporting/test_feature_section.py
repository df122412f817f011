"""Features in reports: the worth of columns, and errors on cold movies."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from gnnrec.distributed.world import World
from gnnrec.reporting.content import Table
from gnnrec.reporting.rating_errors import cold_table
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.reporting.conftest import data, figure, page_of


def bucket(low: int, top: int | None, ratings: int, rmse: float) -> dict:
    return {"from": low, "to": top, "ratings": ratings, "rmse": rmse}


def test_cold_and_warm_errors_are_pooled_squares():
    users = [bucket(1, 4, 10, 2.0)]
    of_model = {
        "rmse_by_movie_ratings": [bucket(0, 0, 4, 3.0), bucket(1, 4, 2, 1.0), bucket(5, None, 6, 2.0)],
        "rmse_by_user_ratings": users,
    }
    (table,) = cold_table({"this model": of_model, "biases": of_model})
    assert [row[:3] for row in table.rows] == [
        ["users with training ratings", "10", "2.0000"],
        ["movies without training ratings", "4", "3.0000"],
        ["movies with training ratings", "8", f"{np.sqrt((2 * 1 + 6 * 4) / 8):.4f}"],
    ]
    assert cold_table({"this model": {"rmse_by_movie_ratings": users, "rmse_by_user_ratings": users}}) == []


@pytest.mark.slow
def test_pages_show_what_features_are_worth(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"movieId": np.arange(40) * 5 + 2, "budget": rng.normal(size=40), "year": rng.normal(size=40)})
    table.to_csv(tmp_path / "features.csv", index=False)
    options = {"protocol": "cold-movies", "test": 0.2, "validation": 0.2}
    features = {"movie_features": [str(tmp_path / "features.csv")]}
    dataset = write_dataset(tmp_path, users=60, movies=40, ratings=900, **options, **features)
    train(make_config(dataset.directory, tmp_path / "run", baselines=True), World())
    page = page_of(tmp_path / "run")
    worth = json.loads((tmp_path / "run" / "summary.json").read_text())["feature_worth"]["movie"]
    drawn = data(figure(page, "worth_of_movie_features")).drop_duplicates("name").set_index("name")["value"]
    assert drawn.to_dict() == pytest.approx({name: found["rmse_change"] for name, found in worth.items()})
    assert list(drawn.index) == sorted(worth, key=lambda name: -worth[name]["rmse_change"]) and len(worth) == 2
    fails = next(section for section in page.sections if section.anchor == "fails")
    tables = [item for item in fails.items if isinstance(item, Table)]
    assert tables[0].rows[-1][0] == "movies without training ratings"
