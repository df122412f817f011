"""Movies without training ratings: predicted from features, told apart in exports, recommended on request."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.inference.recommended import recommend, recommend_all

USERS, MOVIES, COLD = 120, 90, range(0, 90, 9)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """Ratings that follow from three known features of movies; a ninth of the movies is in the test split alone."""
    directory, rng = tmp_path_factory.mktemp("new movies"), np.random.default_rng(0)
    x, tastes = rng.normal(size=(MOVIES, 3)), rng.normal(size=(USERS, 3))
    user, movie = np.divmod(rng.permutation(USERS * MOVIES)[: USERS * MOVIES // 3], MOVIES)
    score = 50 + 8 * x[movie, 0] + 5 * (tastes[user] * x[movie]).sum(1) + 2 * rng.normal(size=len(user))
    split = np.where(np.isin(movie, COLD), "test", np.where(rng.random(len(user)) < 0.1, "validation", "train"))
    table = pd.DataFrame({"user": user + 1, "movie": movie + 1, "rating": score.clip(0, 100), "split": split})
    table.to_csv(directory / "ratings.csv", index=False)
    features = pd.DataFrame(x, columns=["a", "b", "c"]).assign(movie=np.arange(MOVIES) + 1)
    features.to_csv(directory / "features.csv", index=False)
    options = {"ratings": directory / "ratings.csv", "split_column": "split"}
    prepare(directory / "data", PrepareOptions(**options, movie_features=[str(directory / "features.csv")]))
    return PreparedDataset(directory / "data")


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    train(make_config(dataset.directory, directory, optimizer={"epochs": 12, "lr": 0.03}), World())
    return directory


@pytest.mark.slow
def test_cold_movies_are_predicted_by_their_features(dataset, run):
    """Ratings of cold movies have a deviation of 12, of which biases of users explain little, and noise of 2."""
    loaded = load_run(run, World())
    rmse = loaded.evaluate(TEST, loaded.embed()).rmse
    test, owner = dataset.split == TEST, np.repeat(np.arange(USERS), np.diff(dataset.user_ptr))
    train_mean = dataset.rating[dataset.split == TRAIN].mean()
    residual = np.where(dataset.split == TRAIN, dataset.rating - train_mean, 0)
    bias = np.bincount(owner, residual) / np.bincount(owner, dataset.split == TRAIN)
    biases = np.sqrt(np.mean((dataset.rating[test] - train_mean - bias[owner[test]]) ** 2))
    assert set(dataset.movies["movie"][np.unique(dataset.movie[test])] - 1) == set(COLD)
    assert rmse < 0.7 * biases


@pytest.mark.slow
def test_cold_movies_are_told_apart_and_recommended_on_request(dataset, run, tmp_path):
    out = tmp_path / "export"
    manifest = export(run, ExportOptions(out, part_rows=40), World())
    verify(out, VerifyOptions())
    movies = pq.read_table(out / "movies").to_pandas()
    assert manifest["cold_movies"] == len(COLD) and set(movies["movie"][movies["cold"]] - 1) == set(COLD)
    assert (np.stack(movies["embedding"][movies["cold"]]) != 0).any(1).all()
    for source in (run, out):
        for options in ({"user": "5"}, {"similar_to": str(dataset.movies["movie"].iloc[3])}):
            usual, new = (
                set(recommend(source, RecommendOptions(**options, top=MOVIES, new_movies=value))["movie"] - 1)
                for value in (False, True)
            )
            assert usual and new - usual and new - usual <= set(COLD) and not usual & set(COLD)
    facts = recommend_all(out, RecommendOptions(all=True, out=tmp_path / "lists", top=5, new_movies=True), World())
    assert facts["filters"] == "--new-movies" and facts["movies"] == MOVIES
    assert json.loads((out / "manifest.json").read_text())["cold_movies"] == len(COLD)
