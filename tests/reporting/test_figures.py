"""Figures of the page against independent computations."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score, root_mean_squared_error

from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN
from gnnrec.distributed.world import World
from gnnrec.evaluation.ranking_split import read_ranking_split
from gnnrec.inference.movie_catalog import MovieCatalog
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.reporting import ranking_errors
from gnnrec.reporting.examples import spread_users
from gnnrec.reporting.movie_map import leading_genres, movie_map, projection, unit_vectors
from gnnrec.reporting.opened_run import open_run
from gnnrec.reporting.rating_errors import bucket_name, calibration, error_shares
from gnnrec.reporting.run_records import read_run
from tests.inference.recommended import recommend
from tests.reporting.conftest import data, figure, page_of


@pytest.fixture(scope="module")
def page(rating_run):
    return page_of(rating_run)


@pytest.fixture(scope="module")
def predictions(rating_run) -> pd.DataFrame:
    """Test ratings with predictions from scores of all pairs, and counts of training ratings."""
    run = open_run(read_run(rating_run), World(), None)
    dataset, embeddings = run.loaded.dataset, run.loaded.embed()
    table = pd.DataFrame({"movie": dataset.movie, "rating": dataset.rating, "split": dataset.split})
    table["user"] = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    train = table[table["split"] == TRAIN]
    for side in ("user", "movie"):
        table[f"{side}_degree"] = table[side].map(train[side].value_counts()).fillna(0).astype(int)
    table = table[table["split"] == TEST].reset_index(drop=True)
    user, movie = (torch.tensor(table[side].to_numpy()) for side in ("user", "movie"))
    with torch.no_grad():
        score = (embeddings.user[user] * embeddings.movie[movie]) @ run.loaded.model.head.linear.weight[0]
        score *= run.loaded.model.shrinkage
        score += embeddings.offset + embeddings.user_bias[user] + embeddings.movie_bias[movie]
    rating = dataset.manifest.rating
    predicted = (score * rating["std"] + rating["mean"]).clamp(0.5, 5)
    return table.assign(predicted=predicted.double().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("side", ["user", "movie"])
def test_rmse_by_activity_and_popularity(page, predictions, side):
    edges = [0, 1, 5, 10, 20, 50, 100, np.inf]
    names = ["0", "1–4", "5–9", "10–19", "20–49", "50–99", "100–199"]
    bucket = pd.cut(predictions[f"{side}_degree"], edges, right=False, labels=names)
    expected = predictions.groupby(bucket, observed=True).apply(
        lambda rows: pd.Series({"rmse": root_mean_squared_error(rows["rating"], rows["predicted"]), "n": len(rows)})
    )
    found = data(figure(page, f"rmse_by_{side}_ratings"))
    ours = found[found["series"] == "this model"].set_index("bucket")["value"]
    assert ours.index.tolist() == expected.index.tolist() and len(ours) >= 2
    np.testing.assert_allclose(ours, expected["rmse"], rtol=1e-5)
    assert found.dropna(subset="count").set_index("bucket")["count"].to_dict() == expected["n"].to_dict()


@pytest.mark.slow
def test_buckets_add_up_to_the_scores_of_model_and_baseline(page, rating_run):
    summary = json.loads((rating_run / "summary.json").read_text())
    found = data(figure(page, "rmse_by_user_ratings"))
    count = found.dropna(subset="count").set_index("bucket")["count"]
    for series, score in (
        ("this model", summary["test_rmse_without_time"]),
        ("biases", summary["baselines"]["biases"]["test_rmse"]),
    ):
        rmse = found[found["series"] == series].set_index("bucket")["value"]
        assert np.sqrt((rmse**2 * count).sum() / count.sum()) == pytest.approx(score, rel=1e-5)


def test_calibration_on_the_page(page, predictions):
    found = data(figure(page, "calibration")).dropna(subset="count")
    assert found["count"].sum() == len(predictions)
    np.testing.assert_allclose((found["observed"] * found["count"]).sum(), predictions["rating"].sum(), rtol=1e-6)
    np.testing.assert_allclose((found["predicted"] * found["count"]).sum(), predictions["predicted"].sum(), rtol=1e-5)


def test_calibration_of_known_numbers():
    rng = np.random.default_rng(0)
    rating = rng.integers(1, 11, 5000) / 2
    predicted = np.clip(rating + rng.normal(0, 0.7, 5000), 0.5, 5)
    found = calibration(predicted, rating, (0.5, 5.0))
    edges = np.linspace(0.5, 5, 21)
    part = pd.cut(predicted, [*edges[:-1], np.inf], right=False, labels=False)
    expected = pd.DataFrame({"rating": rating, "predicted": predicted}).groupby(part).agg(["mean", "count"])
    np.testing.assert_allclose(found["observed"], expected["rating"]["mean"])
    np.testing.assert_allclose(found["predicted"], expected["predicted"]["mean"])
    assert found["count"].tolist() == expected["rating"]["count"].tolist()


def test_curves_are_the_records(page, rating_run):
    records = [json.loads(line) for line in (rating_run / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "validation_rmse_without_time", "lr"):
        found = data(figure(page, f"curve_{name}"))
        expected = [(row["step"], row[name]) for row in records if name in row]
        assert len(expected) >= 4 and list(zip(found["step"], found["value"])) == expected


@pytest.mark.parametrize("user", range(3))
def test_recommendations_equal_those_of_recommend(page, rating_run, user):
    (section,) = [section for section in page.sections if section.anchor == "recommendations"]
    assert "sum of interest and weighted predicted rating" in section.text
    lists = section.items[user]
    identity, count = lists.title.removeprefix("User ").removesuffix(" ratings").split(" · ")
    found = recommend(rating_run, RecommendOptions(identity, top=8))
    recommended = dict(lists.lists)["Recommended"]
    assert [entry.title for entry in recommended] == found["title"].tolist()
    assert [entry.value for entry in recommended] == [f"{rating:.2f}" for rating in found["rating"]]
    liked = [float(entry.value) for entry in dict(lists.lists)["Liked best"]]
    ratings = pd.read_csv(rating_run.parent / "first" / "ratings.csv").query(f"userId == {identity}")["rating"]
    assert liked == ratings.nlargest(8).tolist() and int(count) == len(ratings)


def test_lists_are_compared_with_baselines(page, rating_run):
    summary = json.loads((rating_run / "summary.json").read_text())
    (section,) = [section for section in page.sections if section.anchor == "lists"]
    (table,) = section.items
    assert table.head[1:3] == ["test Recall@20", "test NDCG@20"] and [row[0] for row in table.rows] == [
        "popularity", "recent popularity", "item kNN", "EASE", "this model"
    ]  # fmt: skip
    rows = [*summary["lists"]["baselines"].values(), summary["lists"]]
    for row, values in zip(table.rows, rows):
        names = ("recall@20", "ndcg@20", "coverage", "popular")
        assert [cell.split("\n")[0] for cell in row[1:]] == [f"{values[f'test_{name}']:.4f}" for name in names]
    assert f"plus {summary['chosen']['rating_weight']:g} times the predicted rating" in section.text


def test_similar_movies_equal_those_of_recommend(page, rating_run):
    (section,) = [section for section in page.sections if section.anchor == "similar"]
    ratings = pd.read_csv(rating_run.parent / "first" / "ratings.csv")["movieId"].value_counts()
    for title, entries in section.items[0].lists[:3]:
        found = recommend(rating_run, RecommendOptions(similar_to=title, top=8, min_ratings=10))
        assert [entry.title for entry in entries] == found["title"].tolist()
        assert (ratings[found["movie"]] >= 10).all()


@pytest.mark.slow
def test_rankings_by_user(ranking_run):
    """Recall@20 and NDCG@100 of every user from scores of all movies, by scikit-learn."""
    run = open_run(read_run(ranking_run), World(), None)
    dataset, model = run.loaded.dataset, run.loaded.model
    split = read_ranking_split(dataset, World(), TEST, 3.5)
    found = ranking_errors.figures_by_user(run, split)
    found = found[found["series"] == "this model"].set_index("user")
    source, movies = model.message_embedding.detach().numpy(), model.movie_vectors().detach().numpy()
    candidates = np.unique(dataset.movie[(dataset.split == TRAIN) & (dataset.rating >= 3.5)])
    assert len(found) > 10
    for user, row in found.iterrows():
        edges = slice(dataset.user_ptr[user], dataset.user_ptr[user + 1])
        movie, rating, which = dataset.movie[edges], dataset.rating[edges], dataset.split[edges]
        shown, wanted = movie[(which == TEST_INPUT) & (rating >= 3.5)], movie[(which == TEST) & (rating >= 3.5)]
        score = source[shown].sum(0) @ movies.T
        ranked = [
            each
            for each in np.argsort(-score, kind="stable")
            if each in candidates and each not in movie[which == TEST_INPUT]
        ]
        hits = len(set(ranked[:20]) & set(wanted))
        assert row["recall"] == pytest.approx(hits / min(20, len(wanted))) and row["shown"] == len(shown)
        relevance = np.zeros((1, dataset.num_movies))
        relevance[0, wanted] = 1
        places = np.full((1, dataset.num_movies), -1e9)
        places[0, ranked] = -np.arange(len(ranked))
        if set(wanted) <= set(ranked):
            assert row["ndcg"] == pytest.approx(ndcg_score(relevance, places, k=100))


@pytest.mark.slow
def test_rankings_by_activity_add_up(ranking_run):
    page = page_of(ranking_run)
    summary = json.loads((ranking_run / "summary.json").read_text())
    for name, metric in (("recall", "recall@20"), ("ndcg", "ndcg@100")):
        found = data(figure(page, f"{name}_by_user_ratings"))
        count = found.dropna(subset="count").set_index("bucket")["count"]
        assert count.sum() == summary["counts"]["test_users"] and len(count) > 1
        scores = {"this model": summary, "popularity": summary["baselines"]["popularity"]}
        for series, score in scores.items():
            value = found[found["series"] == series].set_index("bucket")["value"]
            assert (value * count).sum() / count.sum() == pytest.approx(score[f"test_{metric}"], rel=1e-6)


def test_a_sample_of_users_is_measured_as_they_are_among_all(ranking_run):
    run = open_run(read_run(ranking_run), World(), None)
    whole = read_ranking_split(run.loaded.dataset, World(), TEST, 3.5)
    sample = ranking_errors.sample_users(whole, 7, seed=0)
    every, some = (ranking_errors.figures_by_user(run, split) for split in (whole, sample))
    assert some["user"].nunique() == 7 and ranking_errors.sample_users(whole, 10_000, 0) is whole
    merged = some.merge(every, on=["user", "series"], suffixes=("", "_all"))
    assert len(merged) == len(some) == 14
    assert (merged["ndcg"] == merged["ndcg_all"]).all() and (merged["recall"] == merged["recall_all"]).all()


def test_the_map_keeps_neighbors_together():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 16))
    group = np.repeat([0, 1, 2], 40)
    vectors = (centers[group] * rng.uniform(0.5, 2, (120, 1)) + rng.normal(0, 0.05, (120, 16))).astype(np.float32)
    place = projection(unit_vectors(vectors))
    distance = np.linalg.norm(place[:, None] - place, axis=2) + np.diag(np.full(120, np.inf))
    assert (group[distance.argmin(1)] == group).all()
    np.testing.assert_array_equal(place, projection(unit_vectors(vectors)))


def test_there_is_no_map_of_a_few_directions(rating_run):
    catalog = MovieCatalog(open_run(read_run(rating_run), World(), None).loaded.dataset)
    movies = len(catalog.titles)
    directions = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    assert movie_map(catalog, directions[np.arange(movies) % 3]) is None
    assert movie_map(catalog, np.random.default_rng(1).normal(size=(movies, 8)).astype(np.float32)) is not None


def test_movies_have_the_color_of_their_rarest_frequent_genre():
    genres = [["Drama"], ["Drama", "War"], ["Comedy", "Drama"], ["Comedy"], ["War", "Comedy"], [], ["Comedy", "Drama"]]
    assert leading_genres(genres) == ["Drama", "War", "Comedy", "Comedy", "War", "other", "Comedy"]
    assert leading_genres([[], []]) is None


def test_example_users_are_spread_over_activity():
    ratings = np.array([5, 1, 100, 3, 0, 40])
    assert spread_users(ratings, 5) == [1, 3, 0, 5, 2]
    assert spread_users(ratings, 1) == [0] and spread_users(ratings, 0) == []
    assert sorted(spread_users(ratings, 50)) == [0, 1, 2, 3, 5]


def test_buckets_have_short_names():
    rows = [(0, 0), (1, 4), (500, 999), (1000, 4999), (5000, 19999), (20000, None)]
    named = [bucket_name({"from": low, "to": top}) for low, top in rows]
    assert named == ["0", "1–4", "500–999", "1k–5k", "5k–20k", "20k+"]


def test_error_shares(page, predictions):
    found = data(figure(page, "errors")).set_index("name")["value"]
    distance = (predictions["predicted"] - predictions["rating"]).abs()
    assert found["below 0.25"] == pytest.approx(100 * (distance < 0.25).mean(), abs=0.2)
    assert found["2 or more"] == pytest.approx(100 * (distance >= 2).mean(), abs=0.2)
    assert found.sum() == pytest.approx(100)
    wide = error_shares(np.array([-3.0, 4.0, 39.0, -90.0]), (1.0, 100.0)).set_index("name")["value"]
    assert wide.to_dict() == {
        "below 5": 50, "5 to 10": 0, "10 to 20": 0, "20 to 30": 0, "30 to 40": 25, "40 or more": 25,
    }  # fmt: skip
