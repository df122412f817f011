"""Worth of features on ratings of which the features that matter are known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation import feature_worth
from gnnrec.evaluation.rating import score_split
from gnnrec.inference.load import load_run
from gnnrec.models.layerwise import embed_all
from gnnrec.training.run import train
from tests.configs import make_config
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

USERS, MOVIES = 90, 60


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """Ratings follow from ``matters`` of movies; ``noise`` and the features of users say nothing."""
    directory, rng = tmp_path_factory.mktemp("worth"), np.random.default_rng(0)
    x = rng.normal(size=(MOVIES, 2))
    user, movie = np.divmod(rng.permutation(USERS * MOVIES)[: USERS * MOVIES // 3], MOVIES)
    rating = (50 + 10 * x[movie, 0] + 2 * rng.normal(size=len(user))).clip(0, 100)
    pd.DataFrame({"user": user, "movie": movie, "rating": rating}).to_csv(directory / "ratings.csv", index=False)
    pd.DataFrame(x, columns=["matters", "noise"]).assign(movie=range(MOVIES)).to_csv(directory / "m.csv", index=False)
    pd.DataFrame({"age": rng.normal(size=USERS), "user": range(USERS)}).to_csv(directory / "u.csv", index=False)
    options = {"protocol": "cold-movies", "test": 0.2, "validation": 0.2, "shards": 6}
    features = {"movie_features": [str(directory / "m.csv")], "user_features": [str(directory / "u.csv")]}
    prepare(directory / "data", PrepareOptions(ratings=directory / "ratings.csv", **features, **options))
    return PreparedDataset(directory / "data")


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    train(make_config(dataset.directory, directory, optimizer={"epochs": 8, "lr": 0.03}), World())
    return directory


def measured(world: World, run) -> dict:
    loaded = load_run(run, world)
    before = loaded.model.movies.x.clone(), loaded.users.x.clone()
    worth = feature_worth.feature_worth(loaded.model, loaded.users, loaded.graph, loaded.dataset)
    assert torch.equal(before[0], loaded.model.movies.x) and torch.equal(before[1], loaded.users.x)
    return worth


def test_the_column_that_ratings_follow_from_is_worth_most(dataset, run):
    worth = json.loads((run / "summary.json").read_text())["feature_worth"]
    assert {node: set(columns) for node, columns in worth.items()} == {"movie": {"matters", "noise"}, "user": {"age"}}
    changes = {name: found["rmse_change"] for columns in worth.values() for name, found in columns.items()}
    assert changes["matters"] > 1.5 and abs(changes["noise"]) < 0.5 and abs(changes["age"]) < 0.5
    assert worth == measured(World(), run)
    # The mean over other shuffles is about the same.
    loaded = load_run(run, World())
    x, errors = loaded.model.movies.x, []
    original = x.clone()
    for seed in range(6):
        x[:, 0] = original[torch.randperm(MOVIES, generator=torch.Generator().manual_seed(seed)), 0]
        embeddings = embed_all(loaded.model, loaded.users, loaded.graph)
        errors.append(score_split(loaded.model, embeddings, dataset, loaded.graph, VALIDATION).rmse_without_time)
    expected = np.mean(errors) - json.loads((run / "summary.json").read_text())["validation_rmse_without_time"]
    assert changes["matters"] == pytest.approx(expected, rel=0.4)


@pytest.mark.processes
def test_two_ranks_measure_the_same(run):
    expected = measured(World(), run)
    for actual in run_on_ranks(2, measured, run):
        for node, columns in expected.items():
            for name, found in columns.items():
                assert actual[node][name] == pytest.approx(found, abs=1e-4)


def test_it_is_left_out_for_many_ratings(run, monkeypatch, caplog):
    monkeypatch.setattr(feature_worth, "MOST_RATINGS", 1000)
    with caplog.at_level("INFO"):
        assert measured(World(), run) == {}
    assert "the worth of features is left out: 3 columns" in caplog.text
