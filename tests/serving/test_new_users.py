"""New users by the ratings in a request, and reasons, from the export of a run that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gnnrec
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.serving import reasons
from gnnrec.serving.app import ServingApp, create_app
from gnnrec.serving.requests import NewUser, rated_rows
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.inference.exports import exported
from tests.serving.client import Question, ask, ask_all, get

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("rated"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("trained") / "run"
    train(make_config(data.directory, place, model={"architecture": "gat"}, interest={"enabled": True}), World())
    return place


@pytest.fixture(scope="module")
def trained(run, tmp_path_factory) -> ServingApp:
    out = tmp_path_factory.mktemp("exported") / "export"
    exported(run, out, own_rows=True)  # attention of known users depends on these rows
    return create_app(out)


def new_ratings(data: PreparedDataset, user: int) -> pd.DataFrame:
    rng = np.random.default_rng(user)
    movies = rng.choice(data.movies["movie"].to_numpy(), 6, replace=False)
    return pd.DataFrame({"userId": 9000 + user, "movieId": movies, "rating": rng.integers(1, 10, 6) / 2})


def body(table: pd.DataFrame) -> list[dict]:
    pairs = zip(table["movieId"].tolist(), table["rating"].tolist())
    return [{"movie": movie, "rating": rating} for movie, rating in pairs]


def test_new_users_get_the_lists_that_the_run_computes_with_torch(data, run, trained):
    tables = [new_ratings(data, user) for user in range(5)]
    wanted = gnnrec.recommend(run, [9000 + user for user in range(5)], ratings=pd.concat(tables), top=8, device="cpu")
    alone = [ask(trained, Question("/recommend", {"ratings": body(table), "top": 8})).json for table in tables]
    users = {"users": [{"ratings": body(table)} for table in tables], "top": 8}
    together = ask(trained, Question("/recommend", users)).json["users"]
    for user, (answer, listed) in enumerate(zip(alone, together)):
        table = wanted[wanted["user"] == 9000 + user]
        assert answer["movies"] == listed["movies"] and "user" not in answer
        assert [movie["movie"] for movie in answer["movies"]] == table["movie"].tolist()
        for name in ("score", "rating"):
            np.testing.assert_allclose([movie[name] for movie in answer["movies"]], table[name], atol=1e-5)


def test_pairs_of_a_new_user_have_scores(data, trained):
    table = new_ratings(data, 1)
    listed = ask(trained, Question("/recommend", {"ratings": body(table), "top": 5})).json["movies"]
    ids = [movie["movie"] for movie in listed]
    scored = ask(trained, Question("/score", {"ratings": body(table), "movie": ids})).json["movies"]
    assert [movie["rating"] for movie in scored] == [movie["rating"] for movie in listed]


def test_reasons_add_up_to_the_score_and_name_ratings_of_the_user(data, trained):
    known = data.users["user"].tolist()[3]
    own = data.movie[data.user_ptr[3] : data.user_ptr[4]]
    rated = set(data.movies["movie"].to_numpy()[own].tolist())
    new = new_ratings(data, 2)
    for asked, ratings in (({"user": known}, rated), ({"ratings": body(new)}, set(new["movieId"].tolist()))):
        answer = ask(trained, Question("/recommend", {**asked, "top": 4, "why": 3})).json
        plain = ask(trained, Question("/recommend", {**asked, "top": 4})).json
        assert len(answer["movies"]) == 4
        for movie, same in zip(answer["movies"], plain["movies"]):
            why = movie.pop("why")
            assert movie == same
            assert len(why["ratings"]) == 3 and {entry["movie"] for entry in why["ratings"]} <= ratings
            parts = [value for name, value in why.items() if isinstance(value, float) and name != "sum"]
            total = sum(parts) + sum(entry["part"] for entry in why["ratings"]) + why["other_ratings"]["part"]
            assert total == pytest.approx(why["sum"], abs=1e-9) and why["sum"] == pytest.approx(
                movie["score"], abs=1e-5
            )


def test_reasons_of_too_many_ratings_are_refused(data, trained, monkeypatch):
    known = data.users["user"].tolist()[3]
    count = int(data.user_ptr[4] - data.user_ptr[3])
    monkeypatch.setattr(reasons, "MOST_PARTS", 5 * count)
    assert len(ask(trained, get("/recommend", user=known, top=5, why=1)).json["movies"]) == 5
    answer = ask(trained, get("/recommend", user=known, top=6, why=1))
    assert answer.status == 400 and "ask for at most" in answer.json["error"]


def test_ratings_that_cannot_be_are_refused(trained):
    for ratings, status, says in (
        ([{"movie": 2, "rating": 9}], 400, "ratings: 9 is off the scale of 0.5 to 5"),
        ([{"movie": 1, "rating": 3}], 404, "ratings: movie 1: no movie has this id (ids look like 2, 7, 12)"),
        ([{"movie": 2, "rating": 3}, {"movie": "2", "rating": 3}], 400, "ratings: movie 2 comes twice"),
    ):
        answer = ask(trained, Question("/recommend", {"ratings": ratings}))
        assert (answer.status, says in answer.json["error"]) == (status, True), answer.json


def test_likes_need_no_rating(data, trained):
    liked = NewUser(("2", "7"), np.array([np.nan, 1], np.float32))
    rows = rated_rows(liked, trained.live.current.movies, (1.0, 1.0))
    assert sorted(rows.tolist()) == [0, 1] and liked.ratings.tolist() == [1, 1]
    answer = ask(trained, Question("/recommend", {"ratings": [{"movie": 2}]}))
    assert (answer.status, answer.json["error"]) == (400, "rating is missing: send the rating")


def test_an_export_without_an_encoder_says_so(app):
    answers = ask_all(
        app, [Question("/recommend", {"ratings": [{"movie": 2, "rating": 3}]}), get("/recommend", user=7, why=1)]
    )
    for answer in answers:
        assert answer.status == 400 and "export" in answer.json["error"] and "again" in answer.json["error"]


@pytest.mark.parametrize("dtype", ["float16", "int8", "binary"])
def test_exports_of_small_vectors_answer_like_the_command(run, data, tmp_path, dtype):
    out = tmp_path / dtype
    exported(run, out, own_rows=True, dtype=dtype)
    app = create_app(out)
    for user in data.users["user"][:4].tolist():
        answer = ask(app, get("/recommend", user=user, top=5, why=1)).json
        table = gnnrec.recommend(out, user, top=5, why=1)
        assert [movie["movie"] for movie in answer["movies"]] == table["movie"].tolist()
        assert [movie["score"] for movie in answer["movies"]] == table["score"].astype(float).tolist()
        for movie, parts in zip(answer["movies"], table["why"]):
            assert movie["why"] == parts
    table = new_ratings(data, 1)
    answer = ask(app, Question("/recommend", {"ratings": body(table), "top": 5})).json
    expected = gnnrec.recommend(out, int(table["userId"].iloc[0]), ratings=table, top=5)
    assert [movie["movie"] for movie in answer["movies"]] == expected["movie"].tolist()
