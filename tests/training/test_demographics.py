"""Demographics of known effect: users with few ratings are predicted from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from gnnrec.data.prepare import prepare
from gnnrec.data.prepare_options import PrepareOptions
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.configs import make_config

USERS, MOVIES, RATINGS, NOISE = 800, 60, 6, 0.4
NAMES = ("child", "student", "worker", "retired")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """Users with six ratings; their occupation decides which half of the movies they like, by one star each way."""
    directory, random = tmp_path_factory.mktemp("demographics"), np.random.default_rng(0)
    occupation = random.integers(len(NAMES), size=USERS)
    taste = random.choice([-1.0, 1.0], size=(len(NAMES), MOVIES))
    user = np.repeat(np.arange(USERS), RATINGS)
    movie = np.concatenate([random.choice(MOVIES, RATINGS, replace=False) for _ in range(USERS)])
    rating = 2.75 + taste[occupation[user], movie] + NOISE * random.normal(size=len(user))
    pd.DataFrame({"userId": user, "movieId": movie, "rating": rating.clip(0.5, 5).round(1)}).to_csv(
        directory / "ratings.csv", index=False
    )
    table = {"userId": np.arange(USERS), "occupation": np.array(NAMES)[occupation], "age": random.normal(size=USERS)}
    pd.DataFrame(table).to_csv(directory / "users.csv", index=False)
    options = PrepareOptions(ratings=directory / "ratings.csv", user_features=[str(directory / "users.csv")])
    prepare(directory / "data", options)
    return PreparedDataset(directory / "data")


@pytest.mark.slow
def test_demographics_explain_users_with_few_ratings(dataset, tmp_path):
    assert [(group.name, group.kind) for group in dataset.features("user").schema] == [
        ("occupation", "category"),
        ("age", "number"),
    ]
    errors = []
    for features in (True, False):
        config = make_config(
            dataset.directory,
            tmp_path / str(features),
            model={"features": features, "dim": 16, "init_std": 0.05, "movie_id_init_std": 0.1},
            loader={"folds": 10},
            optimizer={"epochs": 20, "warmup_steps": 20},
        )
        errors.append(train(dataclasses.replace(config, validate_every=20), World())["test_rmse"])
    found, without = errors
    # The error that occupation explains is that without features less the noise.
    assert (without - found) / (without - NOISE) > 0.5 and without > 2 * NOISE
