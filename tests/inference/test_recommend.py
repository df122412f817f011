"""Recommendations against the scores of all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.cli.main import run_command
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph.batch import Targets
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table, write_dataset
from tests.inference.recommended import recommend

MOVIES = 29


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Raw ratings and the prepared dataset."""
    directory = tmp_path_factory.mktemp("recommend")
    write_dataset(directory, movies=MOVIES)
    return directory


@pytest.fixture(scope="module", params=["dot", "mlp"])
def run(request, place, tmp_path_factory) -> Path:
    config = make_config(
        place / "prepared",
        tmp_path_factory.mktemp("run") / "run",
        model={"head": request.param},
        optimizer={"lr": 0.05},
    )
    train(config, World())
    return config.run_dir


@pytest.fixture(scope="module")
def scores(run) -> pd.DataFrame:
    """Ratings that the model predicts, without clipping: raw user ids x raw movie ids."""
    loaded = load_run(run, World())
    users, movies = loaded.dataset.num_users, loaded.dataset.num_movies
    movie = torch.arange(movies, dtype=torch.int32).repeat(users)
    pairs = Targets(torch.arange(users + 1) * movies, movie, torch.zeros(len(movie)), len(movie))
    with torch.no_grad():
        found = loaded.rating_unit.restore(loaded.model.score(loaded.embed(), pairs)).view(users, movies)
    return pd.DataFrame(found.numpy(), loaded.dataset.users["user"], loaded.dataset.movies["movie"])


def rated_by(place: Path, user: int) -> set[int]:
    table = pd.read_csv(place / "ratings.csv")
    return set(table.loc[table["userId"] == user, "movieId"])


@pytest.mark.parametrize("user", [7, 28, 115])
def test_the_best_unrated_movies_come_first(place, run, scores, user):
    found = recommend(run, RecommendOptions(str(user), top=5))
    rated = rated_by(place, user)
    assert rated
    expected = scores.loc[user].drop(list(rated)).sort_values(ascending=False).head(5)
    assert found["movie"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found["rating"], expected.clip(0.5, 5), rtol=1e-5)
    assert found["rank"].tolist() == [1, 2, 3, 4, 5]


def test_titles_belong_to_their_movies(place, run):
    found = recommend(run, RecommendOptions("7", top=MOVIES))
    titles = pd.read_csv(place / "movies.csv").set_index("movieId")["title"]
    assert found["title"].tolist() == titles[found["movie"]].tolist()


def test_a_large_top_returns_all_unrated_movies(place, run):
    for user in (7, 28):
        found = recommend(run, RecommendOptions(str(user), top=10_000))
        every = set(pd.read_csv(place / "ratings.csv")["movieId"])
        assert set(found["movie"]) == every - rated_by(place, user)
        assert len(found) == len(set(found["movie"])) == len(every - rated_by(place, user))
        assert (found["rating"].diff().dropna() <= 0).all()


def test_top_may_be_one(run):
    assert len(recommend(run, RecommendOptions("7", top=1))) == 1


@pytest.mark.parametrize("top", [0, -3])
def test_top_below_one_is_refused(run, top):
    with pytest.raises(UserError, match=f"--top {top}"):
        recommend(run, RecommendOptions("7", top=top))


@pytest.mark.parametrize("user", ["8", "", "07", "seven", "7.0"])
def test_the_error_about_an_unknown_user_shows_known_ids(place, run, user):
    with pytest.raises(UserError) as caught:
        recommend(run, RecommendOptions(user))
    message = str(caught.value)
    assert message.startswith(f"--user {user}: no user in {place / 'prepared'} has this id")
    shown = message.split("ids look like ")[1].rstrip(")").split(", ")
    users = sorted(set(pd.read_csv(place / "ratings.csv")["userId"]))
    assert shown == [str(user) for user in users[:3]]


def test_ids_may_be_strings_and_users_may_have_rated_everything(tmp_path):
    table = ratings_table(12, 8, 70)
    everything = pd.DataFrame(
        {"userId": 999, "movieId": np.arange(8) * 5 + 2, "rating": 3.0, "timestamp": 1_000_000_000}
    )
    table = pd.concat([table, everything])
    table["userId"], table["movieId"] = "u/" + table["userId"].astype(str), "tt0" + table["movieId"].astype(str)
    table.to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "prepared", PrepareOptions(ratings=tmp_path / "ratings.csv"))
    train(make_config(tmp_path / "prepared", tmp_path / "run", max_steps=1), World())
    user = table.groupby("userId").size().idxmin()
    found = recommend(tmp_path / "run", RecommendOptions(user, top=100))
    assert set(found["movie"]) == set(table["movieId"]) - set(table.loc[table["userId"] == user, "movieId"])
    assert recommend(tmp_path / "run", RecommendOptions("u/999")).empty


def test_the_printed_table(run, capsys):
    found = recommend(run, RecommendOptions("7", top=2))
    run_command(["recommend", str(run), "--user", "7", "--top", "2"])
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0] == "for user 7" and lines[1].startswith("who rated highest: ")
    assert [line.split(maxsplit=2) for line in lines[2:]] == [
        [str(row.rank), f"{row.rating:.2f}", row.title] for row in found.itertuples()
    ]
