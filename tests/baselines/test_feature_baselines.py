"""Baselines from features of movies, against dense formulas with scikit-learn, on held-out movies."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from gnnrec.baselines import scoring
from gnnrec.baselines.baseline import fit_best
from gnnrec.baselines.feature_rankings import FEATURE_RANKINGS
from gnnrec.baselines.feature_ratings import FEATURE_RATINGS, RATING_RIDGE
from gnnrec.baselines.means import BIASES
from gnnrec.baselines.ranking import fit_baselines as fit_ranking_baselines
from gnnrec.baselines.rating import fit_baselines
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.evaluation.ranking_split import read_ranking_split
from gnnrec.graph.interactions import read_interactions
from gnnrec.graph.partition import partition
from gnnrec.tools.comparison.models import choose
from gnnrec.training.run import train
from tests.baselines.data import standardized_triples
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks

MOVIES = 70
RANKING_SETTINGS = {
    "category popularity": {"popularity_power": 0.5, "share_power": 1.0},
    "feature kNN": {"neighbors": 7, "power": 4},
    "feature ridge": {"penalty": 20.0, "l2": 3.0},
}
RATING_SETTINGS = {
    "biases and kNN": {"neighbors": 7, "shrinkage": 2.0},
    "biases and ridge": {"movie_l2": 5.0, "user_l2": 3.0},
}


@pytest.fixture(scope="module")
def cold(tmp_path_factory) -> PreparedDataset:
    directory, rng = tmp_path_factory.mktemp("feature baselines"), np.random.default_rng(3)
    genres = ["Drama", "Comedy|Drama", "", "Action|Comedy|Thriller", "Thriller"]
    columns = {"movieId": np.arange(MOVIES) * 5 + 2, "genres": [genres[k % 5] for k in range(MOVIES)]}
    columns |= {name: rng.normal(size=MOVIES) for name in "abc"}
    pd.DataFrame(columns).to_csv(directory / "features.csv", index=False)
    options = {"users": 60, "movies": MOVIES, "ratings": 1800, "test": 0.25, "validation": 0.25}
    features = [str(directory / "features.csv")]
    return write_dataset(directory, protocol="cold-movies", movie_features=features, **options)


def liked(dataset: PreparedDataset) -> np.ndarray:
    """Training ratings of 4 and more as ones, ``[users, movies]``."""
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = (np.array(dataset.split) == TRAIN) & (np.array(dataset.rating) >= 4)
    table = np.zeros((dataset.num_users, dataset.num_movies))
    table[user[chosen], np.array(dataset.movie)[chosen]] = 1
    return table


def neighbors(x: np.ndarray, trained: np.ndarray, count: int) -> np.ndarray:
    similarity = np.where(trained[:, None], cosine_similarity(x).clip(min=0), 0)
    np.fill_diagonal(similarity, 0)
    lowest = np.sort(similarity, 0)[-count]
    return np.where(similarity >= lowest * (1 - 1e-6), similarity, 0)


def expected_scores(name: str, dataset: PreparedDataset) -> np.ndarray:
    setting, table = RANKING_SETTINGS[name], liked(dataset)
    x, trained = np.array(dataset.features("movie").x, np.float64), table.any(0)
    if name == "feature kNN":
        return table @ neighbors(x, trained, setting["neighbors"]) ** setting["power"]
    if name == "feature ridge":
        inverse = np.linalg.inv(table.T @ table + setting["penalty"] * np.eye(MOVIES))
        weights = np.eye(MOVIES) - inverse / np.diag(inverse)
        ridge = Ridge(setting["l2"]).fit(x[trained], weights[:, trained].T)  # vectors of movies
        vectors = np.where(trained[:, None], weights.T, ridge.predict(x))
        return table @ vectors.T
    group = next(group for group in dataset.features("movie").schema if group.name == "genres")
    names, width = group.details["categories"], len(group.details["categories"])
    assert sorted(names) == ["Action", "Comedy", "Drama", "Thriller"]
    member = (x[:, group.first : group.first + width] > 0).astype(float)
    popularity = np.array([table.sum(0)[(member[:, k] > 0) & trained].mean() for k in range(width)])
    shares = member / np.maximum(member.sum(1, keepdims=True), 1)
    share = table @ shares
    share /= np.maximum(share.sum(1, keepdims=True), 1)
    return (share * np.sqrt(popularity)) @ shares.T


@pytest.mark.parametrize("ranking", FEATURE_RANKINGS, ids=lambda ranking: ranking.name)
def test_rankings_equal_dense_formulas(cold, ranking, tmp_path):
    world = World()
    train = read_interactions(cold, partition(cold.manifest.shards, 0, 1), (TRAIN,), 4.0, world.device)
    score = ranking.fits(cold, world, train)(RANKING_SETTINGS[ranking.name])
    expected = expected_scores(ranking.name, cold)
    is_cold = ~np.isin(np.arange(MOVIES), np.array(cold.movie)[np.array(cold.split) == TRAIN])
    assert is_cold.sum() > 20 and np.median(expected[:, is_cold].std(1)) > 0
    # The others are not ranked.
    np.testing.assert_allclose(score(train).numpy()[:, is_cold], expected[:, is_cold], rtol=2e-4, atol=2e-6)
    warm = changed_copy(cold, tmp_path / "warm", split=np.array(cold.split) * (np.arange(cold.num_ratings) % 3 < 1))
    manifest = json.loads((warm.directory / "manifest.json").read_text())
    manifest["split"]["protocol"] = "random"
    manifest.pop("fingerprint")
    (warm.directory / "manifest.json").write_text(json.dumps(manifest))
    warm = PreparedDataset(warm.directory)
    train = read_interactions(warm, partition(warm.manifest.shards, 0, 1), (TRAIN,), 4.0, world.device)
    score = ranking.fits(warm, world, train)(RANKING_SETTINGS[ranking.name])
    np.testing.assert_allclose(score(train).numpy(), expected_scores(ranking.name, warm), rtol=2e-4, atol=2e-6)
    train = read_interactions(cold, partition(cold.manifest.shards, 0, 1), (TRAIN,), 4.0, world.device)
    score = ranking.fits(cold, world, train)(RANKING_SETTINGS[ranking.name])
    split = read_ranking_split(cold, world, TEST, 4.0)
    fitted = ranking.baseline().fit(cold, world, (TRAIN,), 0, RANKING_SETTINGS[ranking.name])
    assert fitted.metrics(TEST).figures() == pytest.approx(split.rank(score).figures(), rel=1e-6)


def expected_ratings(name: str, dataset: PreparedDataset, split: int) -> np.ndarray:
    """Standardized predictions for the ratings of a split, not clipped."""
    setting, x = RATING_SETTINGS[name], np.array(dataset.features("movie").x, np.float64)
    user, movie, rating = standardized_triples(dataset, TRAIN)
    table, known = np.zeros((2, dataset.num_users, MOVIES))
    mean = rating.mean()
    table[user, movie], known[user, movie] = rating - mean, 1
    base, bias = np.zeros(dataset.num_users), np.zeros(MOVIES)
    for _ in range(2):
        bias = ((table - base[:, None]) * known).sum(0) / (known.sum(0) + 5)
        base = ((table - bias) * known).sum(1) / (known.sum(1) + 5)
    trained = known.any(0)
    residual = rating - mean - base[user] - bias[movie]
    asked_user, asked_movie, _ = standardized_triples(dataset, split)
    predicted = mean + base[asked_user]
    if name == "biases and kNN":
        similarity = neighbors(x, trained, setting["neighbors"])
        of_neighbors = similarity.T @ bias / np.maximum(similarity.sum(0), 1e-30)
        predicted += np.where(trained, bias, of_neighbors)[asked_movie]
        sums = np.zeros((dataset.num_users, MOVIES))
        sums[user, movie] = residual
        own = (sums @ similarity) / (known @ similarity + setting["shrinkage"])
        return predicted + own[asked_user, asked_movie]
    x = np.append(x, np.ones((MOVIES, 1)), 1)
    pooled = Ridge(setting["movie_l2"], fit_intercept=False).fit(x[movie], rating - mean - base[user])
    predicted += np.where(trained, bias, pooled.predict(x))[asked_movie]
    for own in np.unique(asked_user):
        chosen, model = user == own, Ridge(setting["user_l2"], fit_intercept=False)
        if chosen.any():
            model.fit(x[movie[chosen]], residual[chosen])
            predicted[asked_user == own] += model.predict(x[asked_movie[asked_user == own]])
    return predicted


@pytest.mark.parametrize("baseline", FEATURE_RATINGS, ids=lambda baseline: baseline.name)
def test_ratings_equal_dense_formulas(cold, baseline, monkeypatch):
    predictions, metrics = [], scoring.rating_metrics

    def recording(predicted, *arguments):
        predictions.append(predicted.clone())
        return metrics(predicted, *arguments)

    monkeypatch.setattr(scoring, "rating_metrics", recording)
    fitted = baseline.fit(cold, World(), (TRAIN,), 0, RATING_SETTINGS[baseline.name])
    for split in (VALIDATION, TEST):
        fitted.metrics(split)
        np.testing.assert_allclose(predictions.pop(), expected_ratings(baseline.name, cold, split), atol=2e-5)


@pytest.mark.slow
def test_held_out_ratings_change_no_choice(cold, tmp_path, monkeypatch):
    rating, test = np.array(cold.rating), np.array(cold.split) == TEST
    rating[test] = cold.manifest.rating["min"] + cold.manifest.rating["max"] - rating[test]
    other, world = changed_copy(cold, tmp_path / "other", rating=rating), World()
    for baseline in (*FEATURE_RATINGS, *(ranking.baseline() for ranking in FEATURE_RANKINGS)):
        some = dataclasses.replace(baseline, grid=baseline.grid[:3])
        one, two = (fit_best(some, dataset, world, (TRAIN,), 0) for dataset in (cold, other))
        assert (one.setting, one.validation_loss) == (two.setting, two.validation_loss)
        assert one.fitted.metrics(TEST).loss != two.fitted.metrics(TEST).loss


def metrics_on_ranks(world: World, directory: str) -> list[float]:
    dataset = PreparedDataset(directory)
    found = [b.fit(dataset, world, (TRAIN,), 0, RATING_SETTINGS[b.name]).metrics(TEST).rmse for b in FEATURE_RATINGS]
    for ranking in FEATURE_RANKINGS:
        fitted = ranking.baseline().fit(dataset, world, (TRAIN,), 0, RANKING_SETTINGS[ranking.name])
        found.append(fitted.metrics(TEST).ndcg_at_20)
    return found


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_equal_one(cold):
    expected = metrics_on_ranks(World(), str(cold.directory))
    for actual in run_on_ranks(2, metrics_on_ranks, str(cold.directory)):
        assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_ridge_finds_what_features_say(tmp_path):
    """Ratings of movies follow from features of which users have different tastes."""
    rng = np.random.default_rng(0)
    x, taste = rng.normal(size=(90, 3)), rng.normal(size=(80, 3))
    user, movie = np.divmod(rng.permutation(80 * 90)[:3000], 90)
    rating = (50 + 8 * x[movie, 0] + 5 * (taste[user] * x[movie]).sum(1) + rng.normal(size=3000)).clip(0, 100)
    pd.DataFrame({"user": user, "movie": movie, "rating": rating}).to_csv(tmp_path / "ratings.csv", index=False)
    pd.DataFrame(x, columns=list("abc")).assign(movie=range(90)).to_csv(tmp_path / "x.csv", index=False)
    options = {"protocol": "cold-movies", "test": 0.2, "validation": 0.2, "movie_features": [str(tmp_path / "x.csv")]}
    prepare(tmp_path / "data", PrepareOptions(ratings=tmp_path / "ratings.csv", **options))
    dataset, world = PreparedDataset(tmp_path / "data"), World()
    biases = BIASES.fit(dataset, world, (TRAIN,), 0, {}).metrics(TEST).rmse
    assert fit_best(RATING_RIDGE, dataset, world, (TRAIN,), 0).fitted.metrics(TEST).rmse < 0.4 * biases


@pytest.mark.slow
def test_summaries_have_them_where_movies_have_features(cold, tmp_path):
    summary = train(make_config(cold.directory, tmp_path / "run", baselines=True), World())
    assert {baseline.name for baseline in FEATURE_RATINGS} <= set(summary["baselines"])
    assert {ranking.name for ranking in FEATURE_RANKINGS} <= set(summary["lists"]["baselines"])
    ridge = fit_baselines(cold, World(), (TRAIN,), 0)[RATING_RIDGE.name]
    assert ridge == pytest.approx(summary["baselines"][RATING_RIDGE.name]) and "user_l2" in ridge
    assert {ranking.name for ranking in FEATURE_RANKINGS} <= set(fit_ranking_baselines(cold, World(), (TRAIN,), 0))


def test_datasets_without_features_have_none_of_them(small, cold):
    names = {*RANKING_SETTINGS, *RATING_SETTINGS}
    assert not names & set(choose([], small)[1]) and set(RATING_SETTINGS) <= set(choose([], cold)[1])
    for name, kind in ((name, "features of movies|categories") for name in names):
        with pytest.raises(UserError, match=f"--models: {name} needs .*({kind}).*has none"):
            choose([name], small)
    with pytest.raises(UserError, match="baseline biases and ridge: .* has no features of movies: leave it out"):
        RATING_RIDGE.fit(small, World(), (TRAIN,), 0, RATING_RIDGE.grid[0])
