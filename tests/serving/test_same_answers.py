"""Answers are those of ``gnnrec recommend`` and ``gnnrec predict``, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.errors import UserError
from gnnrec.inference.export_vectors import ExportVectors
from gnnrec.inference.movie_ranker import MovieRanker
from gnnrec.inference.pair_scores import PairScores
from gnnrec.inference.recommend_filters import allowed_movies
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.serving.app import create_app
from gnnrec.serving.movie_filters import Filters
from gnnrec.serving.tables import IdTable
from tests.inference.made_export import KINDS, make_dataset
from tests.inference.recommended import recommend
from tests.serving.client import Question, ask, ask_all, get
from tests.serving.float_export import make_float_export


def assert_same(answer: dict, table: pd.DataFrame) -> None:
    """Compares an answer with the table of a command: ids, titles and all bits of scores."""
    movies = answer["movies"]
    assert [movie["movie"] for movie in movies] == table["movie"].tolist()
    assert [movie["title"] for movie in movies] == table["title"].tolist()
    name = table.columns[3]
    shown = "similarity" if name == "similarity" else "score"
    assert [movie[shown] for movie in movies] == table[name].astype(float).tolist()
    assert not len(table) or ("rating" in table.columns[4:]) == any("rating" in movie for movie in movies)
    if "rating" in table.columns[4:]:
        assert [movie["rating"] for movie in movies] == table["rating"].astype(float).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_all_users_asked_one_by_one_and_together(dataset, tmp_path, kind):
    out = make_float_export(dataset, tmp_path / "export", **KINDS[kind])
    users = dataset.users["user"].tolist()
    wanted = {user: recommend(out, RecommendOptions(str(user), top=6)) for user in users}
    app = create_app(out)
    alone = [ask(app, get("/recommend", user=user, top=6)).json for user in users]
    batched = [answer.json for answer in ask_all(app, [get("/recommend", user=user, top=6) for user in users])]
    assert alone == batched
    body = {"users": [{"user": user} for user in users], "top": 6}
    for answer, listed, user in zip(alone, ask(app, Question("/recommend", body)).json["users"], users):
        assert {name: value for name, value in answer.items() if name != "generation"} == listed
        assert answer["user"] == user
        assert_same(answer, wanted[user])


@pytest.mark.parametrize("order_by", ["rating", "interest", "both"])
def test_orders(export, app, dataset, order_by):
    for user in dataset.users["user"][:5].tolist():
        answer = ask(app, get("/recommend", user=user, order_by=order_by)).json
        assert_same(answer, recommend(export, RecommendOptions(str(user), order_by=order_by)))


@pytest.mark.parametrize(
    "filters",
    [{"genre": ["drama"]}, {"genre": ["Action", "COMEDY"]}, {"min_year": 1985, "max_year": 1999},
     {"min_ratings": 20}, {"genre": ["Thriller"], "max_year": 2001, "min_ratings": 5}],
)  # fmt: skip
def test_filters(export, app, dataset, filters):
    for user in dataset.users["user"][:4].tolist():
        answer = ask(app, get("/recommend", user=user, **filters)).json
        assert_same(answer, recommend(export, RecommendOptions(str(user), **filters)))
    mask = app.live.current.movies.allowed(Filters(**{**filters, "genre": tuple(filters.get("genre", ()))}))
    np.testing.assert_array_equal(mask, allowed_movies(ExportVectors(export), RecommendOptions("7", **filters)))


def test_filters_that_no_movie_passes_are_refused_by_the_command_and_give_an_empty_list(export, app):
    with pytest.raises(UserError, match="no movie"):
        recommend(export, RecommendOptions("7", min_ratings=10_000))
    assert ask(app, get("/recommend", user=7, min_ratings=10_000)).json["movies"] == []


def test_similar_movies(export, app):
    for movie in ("2", "Film 12 (", "film 47"):
        answer = ask(app, get("/similar", movie=movie, top=4)).json
        assert_same(answer, recommend(export, RecommendOptions(similar_to=movie, top=4)))


def test_scores_are_those_of_predict(export, app, dataset):
    source = ExportVectors(export)
    scores = PairScores(source, 100)
    rows = np.arange(dataset.num_movies)
    for row, user in enumerate(dataset.users["user"][:5].tolist()):
        wanted = scores.scores(np.full(len(rows), row), rows).astype(float).tolist()
        answer = ask(app, get("/score", user=user, movie=dataset.movies["movie"].tolist())).json
        assert [movie["rating"] for movie in answer["movies"]] == wanted


@pytest.mark.slow
def test_ids_may_be_strings(tmp_path):
    dataset = make_dataset(tmp_path, "strings")
    out = make_float_export(dataset, tmp_path / "export")
    app = create_app(out)
    for user in dataset.users["user"][::9].tolist():
        assert_same(ask(app, get("/recommend", user=user)).json, recommend(out, RecommendOptions(user)))
    assert ask(app, get("/recommend", user="7")).status == 404
    assert ask(app, get("/similar", movie="tt2")).json["title"] == "Film 2 (1980)"


def test_pages_are_cut_from_one_list(app, dataset):
    user = int(dataset.users["user"][np.diff(dataset.user_ptr).argmin()])
    whole = ask(app, get("/recommend", user=user, top=9)).json["movies"]
    pages = [ask(app, get("/recommend", user=user, top=3, page=page)).json["movies"] for page in (1, 2, 3)]
    assert sum(pages, []) == whole and len(whole) == 9
    assert ask(app, get("/recommend", user=user, top=20, page=9)).json["movies"] == []


def test_allowed_and_denied_movies(app):
    best = [movie["movie"] for movie in ask(app, get("/recommend", user=7, top=6)).json["movies"]]
    denied = ask(app, get("/recommend", user=7, top=4, deny=best[:2])).json["movies"]
    assert [movie["movie"] for movie in denied] == best[2:]
    allowed = ask(app, get("/recommend", user=7, allow=[best[4], best[1]])).json["movies"]
    assert [movie["movie"] for movie in allowed] == [best[1], best[4]]


def test_ids_of_a_request_are_looked_up_once_for_all_of_its_users(app, dataset, monkeypatch):
    denied = [movie["movie"] for movie in ask(app, get("/recommend", user=7, top=3)).json["movies"]]
    looked_up, find = [], IdTable.find
    monkeypatch.setattr(IdTable, "find", lambda ids, text: looked_up.append(text) or find(ids, text))
    users = [{"user": user} for user in dataset.users["user"][:5].tolist()]
    answer = ask(app, Question("/recommend", {"users": users, "deny": denied})).json["users"]
    assert len(looked_up) == len(users) + len(denied)
    for user, listed in zip(users, answer):
        assert listed["movies"] == ask(app, get("/recommend", deny=denied, **user)).json["movies"]
        assert not {movie["movie"] for movie in listed["movies"]} & set(denied)


def relevance_order(scores: np.ndarray, cosines: np.ndarray, diversity: float, top: int) -> list[int]:
    """Chooses movies by maximal marginal relevance, one by one, from its definition."""
    chosen: list[int] = []
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    while len(chosen) < top:
        worth = {
            place: (1 - diversity) * scaled[place] - diversity * max((cosines[place, one] for one in chosen), default=0)
            for place in range(len(scores))
            if place not in chosen
        }
        chosen.append(max(worth, key=worth.__getitem__))
    return chosen


def test_pages_of_a_diverse_list_are_cut_from_one_list(app, dataset):
    user = int(dataset.users["user"][np.diff(dataset.user_ptr).argmin()])
    whole = ask(app, get("/recommend", user=user, top=8, diversity=0.5)).json["movies"]
    pages = [
        ask(app, get("/recommend", user=user, top=1, page=page, diversity=0.5)).json["movies"] for page in range(1, 9)
    ]
    assert sum(pages, []) == whole and len({movie["movie"] for movie in whole}) == 8
    plain = ask(app, get("/recommend", user=user, top=8)).json["movies"]
    assert [movie["movie"] for movie in plain] != [movie["movie"] for movie in whole]


@pytest.mark.parametrize("diversity", [0.2, 0.7, 1.0])
def test_a_diverse_list_is_chosen_by_marginal_relevance(app, dataset, diversity):
    snapshot = app.live.current
    for user in dataset.users["user"][:6].tolist():
        pool = ask(app, get("/recommend", user=user, top=29)).json["movies"]
        vectors = snapshot.own.movies[[snapshot.movies.ids.find(str(movie["movie"])) for movie in pool]].astype(float)
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = np.array([movie["score"] for movie in pool])
        order = relevance_order(scores, directions @ directions.T, diversity, min(5, len(pool)))
        found = ask(app, get("/recommend", user=user, top=5, diversity=diversity)).json["movies"]
        assert found == [pool[place] for place in order]
    assert ask(app, get("/recommend", user=user, diversity=0)).json == ask(app, get("/recommend", user=user)).json


def test_searches_find_titles_with_the_most_rated_first(app, dataset):
    counts = np.bincount(dataset.movie, minlength=dataset.num_movies)
    titles = dataset.movies["title"].tolist()
    for text in ("film 1", "(198", "2 (1", "FILM"):
        rows = [row for row, title in enumerate(titles) if text.casefold() in title.casefold()]
        wanted = [titles[row] for row in sorted(rows, key=lambda row: (-counts[row], row))][:5]
        assert [movie["title"] for movie in ask(app, get("/search", q=text, top=5)).json["movies"]] == wanted
    assert ask(app, get("/search", q="no such")).json["movies"] == []


def test_a_row_of_a_batch_may_be_rounded_otherwise_and_the_list_is_the_same():
    """The margin of :class:`MovieRanker` covers what products of other shapes differ by."""
    rng = np.random.default_rng(0)
    from gnnrec.inference.list_order import list_order
    from gnnrec.inference.scoring import Scoring
    from gnnrec.inference.vector_source import UserBlock

    directions = rng.normal(size=(40, 48)).astype(np.float32)
    movies = directions[rng.integers(0, 40, 3000)] * np.float32(1 + 1e-7) ** rng.integers(0, 4, (3000, 1))
    scoring = Scoring(movies.astype(np.float32), np.zeros(3000, np.float32), 3.0, None, {})
    ranker = MovieRanker(list_order(scoring, None))
    users = rng.normal(size=(32, 48)).astype(np.float32)
    batch, candidates = ranker.scores(users), np.ones(3000, bool)
    for row, vector in enumerate(users):
        user = UserBlock(None, vector[None], np.zeros(1, np.float32))
        alone = ranker.lists(user, candidates, 20)
        together = ranker.lists(user, candidates, 20, batch[row])
        noise = batch[row] + (rng.random(3000).astype(np.float32) - np.float32(0.5)) * ranker._slack(user) / 2
        noisy = ranker.lists(user, candidates, 20, noise)
        for lists in (together, noisy):
            np.testing.assert_array_equal(alone[1], lists[1])
            np.testing.assert_array_equal(alone[0], lists[0])


def test_the_best_movies_of_a_user_are_those_of_all_scores(dataset, export: Path):
    """A dense computation in float64 is the oracle of the ranker, which the command and the service share."""
    source = ExportVectors(export)
    users = source.block(range(source.num_users))
    exact = users.vectors.astype(float) @ source.scoring.movies.astype(float).T + source.scoring.bias
    for row, user in enumerate(dataset.users["user"].tolist()):
        rated = dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]]
        order = [movie for movie in np.argsort(-exact[row], kind="stable").tolist() if movie not in set(rated.tolist())]
        found = recommend(export, RecommendOptions(str(user), top=5))
        assert found["movie"].tolist() == dataset.movies["movie"].to_numpy()[order[:5]].tolist()
        wanted = exact[row, order[:5]] + source.scoring.offset + users.bias[row]
        np.testing.assert_allclose(found["score"], wanted, atol=1e-5)
