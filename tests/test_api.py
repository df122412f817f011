"""``import gnnrec`` in a notebook imports nothing heavy, is typed, and gives the results of the commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.data.prepared import TEST
from gnnrec.distributed.shutdown import SIGNALS
from tests.datasets import ratings_table
from tests.end_to_end.commands import ROOT

SMALL = {"model": {"dim": 8}, "loader": {"folds": 3}, "optimizer": {"epochs": 3}}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    return ratings_table(40, 30, 600).sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def movies(ratings) -> pd.DataFrame:
    ids = np.sort(ratings["movieId"].unique())
    titles = [f"Film {number} ({1980 + number % 20})" for number in ids]
    return pd.DataFrame({"movieId": ids, "title": titles, "genres": np.where(ids % 2, "Drama", "Comedy")})


@pytest.fixture(scope="module")
def data(place, ratings, movies) -> gnnrec.PreparedDataset:
    return gnnrec.prepare(place / "data", ratings, movies=movies)


@pytest.fixture(scope="module")
def run(place, data) -> gnnrec.Run:
    return gnnrec.train(data, place / "run", **SMALL)


@pytest.fixture(scope="module")
def export(place, run) -> Path:
    return gnnrec.export(run, place / "export")


def test_the_import_loads_no_heavy_package():
    code = "import sys, gnnrec; print([m for m in ('torch', 'pandas', 'numpy', 'jsonargparse') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_public_names_are_documented_and_no_others_are_listed():
    assert dir(gnnrec) == sorted(gnnrec.__all__)
    for name in gnnrec.__all__:
        assert getattr(gnnrec, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'prepar'"):
        _ = gnnrec.prepar


def test_a_dataframe_is_prepared_like_a_file(place, ratings, movies, data):
    ratings.to_csv(place / "ratings.csv", index=False)
    movies.to_csv(place / "movies.csv", index=False)
    run_command(["prepare", str(place / "by_command"), "--ratings", str(place / "ratings.csv")])
    other = gnnrec.PreparedDataset(place / "by_command")
    for name in ("user_ptr", "movie", "rating", "split", "timestamp"):
        np.testing.assert_array_equal(getattr(data, name), getattr(other, name))
    pd.testing.assert_frame_equal(data.users, other.users)
    pd.testing.assert_frame_equal(data.movies, other.movies)
    assert "40 users, 30 movies, 600 ratings" in repr(data)


def test_dataframes_and_files_become_features(place, ratings, movies, data):
    movies.to_csv(place / "films.csv", index=False)
    years = pd.DataFrame({"movie": movies.iloc[:, 0], "length": np.arange(len(movies))})
    features = gnnrec.prepare(place / "features", ratings, movie_features=[years, place / "films.csv"]).features(
        "movie"
    )
    assert features.x.shape[0] == data.num_movies and "length" in [group.name for group in features.schema]
    with pytest.raises(gnnrec.UserError, match="^the DataFrame of user_features has no user column"):
        gnnrec.prepare(place / "wrong", ratings, user_features=years)


@pytest.mark.slow
def test_a_run_has_the_content_of_its_files(run, data):
    assert run.summary["counts"]["test_ratings"] == (data.split == TEST).sum()
    assert run.config.model.dim == 8 and run.config.wandb.mode == "disabled"
    validated = run.metrics.dropna(subset="validation_rmse")
    assert len(validated) == 3 and validated["step"].is_monotonic_increasing
    assert run.metrics["test_rmse"].dropna().tolist() == [run.summary["test_rmse"]]
    assert not (run.directory / "wandb").exists()
    assert gnnrec.Run(str(run.directory)).summary == run.summary


@pytest.fixture(scope="module")
def small(place, data) -> gnnrec.Run:
    (place / "run.yaml").write_text("model: {dim: 4, layers: 1}\nloader: {folds: 4}\noptimizer: {epochs: 1}\n")
    return gnnrec.train(data, place / "by_file", config=place / "run.yaml", model={"dim": 6}, baselines=False)


def test_options_override_those_of_a_file(small):
    assert (small.config.model.dim, small.config.loader.folds, small.config.baselines) == (6, 4, False)


def scores(vectors: gnnrec.Embeddings) -> pd.DataFrame:
    """Predicts ratings of all pairs by the documented formula."""
    products = vectors.users @ vectors.movies.T
    return products.add(vectors.user_bias, axis=0).add(vectors.movie_bias, axis=1) + vectors.offset


def test_embeddings_equal_those_of_an_export(run, export):
    vectors, exported = gnnrec.embed(run), gnnrec.embed(export)
    for name, dim in (("users", 40), ("movies", 30)):
        ours, theirs = getattr(vectors, name), getattr(exported, name)
        assert ours.shape == (dim, 8) and (ours.dtypes == np.float32).all()
        file = pd.concat(pd.read_parquet(path) for path in (export / name).glob("*.parquet"))
        file = file.set_index(name.removesuffix("s")).loc[ours.index]
        interest = getattr(vectors, f"{name.removesuffix('s')}_interest")
        np.testing.assert_allclose(np.hstack([ours, interest]), np.stack(file["embedding"]), atol=1e-5)
        pd.testing.assert_frame_equal(theirs.loc[ours.index], ours, check_exact=False, atol=1e-6)
    assert vectors.offset == pytest.approx(exported.offset)


@pytest.mark.slow
def test_recommendations_are_the_highest_scores_of_unrated_movies(run, export, ratings, movies):
    vectors = gnnrec.embed(run)
    predicted = scores(vectors)
    both = predicted + vectors.user_interest @ vectors.movie_interest.T
    all_users = gnnrec.recommend(run, top=4)
    assert all_users.columns.tolist() == ["user", "rank", "movie", "title", "score", "rating"]
    titles = movies.set_index("movieId")["title"]
    for user, found in all_users.groupby("user"):
        rated = ratings.loc[ratings["userId"] == user, "movieId"]
        best = both.loc[user].drop(rated).nlargest(4)
        np.testing.assert_allclose(found["score"], best, rtol=1e-4)
        ratings_of_best = predicted.loc[user, found["movie"]].clip(0.5, 5)
        np.testing.assert_allclose(found["rating"], ratings_of_best, rtol=1e-4)
        assert not set(found["movie"]) & set(rated)
        assert found["title"].tolist() == titles[found["movie"]].tolist()
    by_rating = gnnrec.recommend(run, 7, top=4, order_by="rating")
    rated = ratings.loc[ratings["userId"] == 7, "movieId"]
    np.testing.assert_allclose(by_rating["score"], predicted.loc[7].drop(rated).nlargest(4).clip(0.5, 5), rtol=1e-4)
    some = all_users["user"].unique()[[3, 0]]
    for source in (run, export):
        chosen = gnnrec.recommend(source, some, top=4)
        expected = pd.concat([all_users[all_users["user"] == user] for user in some], ignore_index=True)
        pd.testing.assert_frame_equal(chosen, expected, check_dtype=False, check_exact=False, atol=1e-4)
        pd.testing.assert_frame_equal(gnnrec.recommend(source, some[0], top=4), chosen[:4])


@pytest.mark.slow
def test_filters_and_new_users(run, ratings, movies):
    dramas = set(movies.loc[movies["genres"] == "Drama", "movieId"])
    assert set(gnnrec.recommend(run, 7, genre=["Drama"], top=50)["movie"]) < dramas
    new = ratings.head(5).assign(userId="new").drop(columns="timestamp")
    found = gnnrec.recommend(run, "new", ratings=new, top=50)
    assert set(found["movie"]) == set(ratings["movieId"]) - set(new["movieId"])
    assert gnnrec.embed(run, ratings=new).users.index.tolist() == ["new"]


@pytest.mark.slow
def test_similar_movies_have_the_highest_cosines(run):
    vectors = gnnrec.embed(run).movies
    directions = vectors.div(np.linalg.norm(vectors, axis=1), axis=0)
    expected = (directions @ directions.loc[2]).drop(2).nlargest(5)
    found = gnnrec.similar(run, 2, top=5)
    assert found["movie"].tolist() == expected.index.tolist()
    np.testing.assert_allclose(found["similarity"], expected, rtol=1e-4)
    pd.testing.assert_frame_equal(gnnrec.similar(run, "film 2 (", top=5), found)


def test_evaluate_repeats_the_summary(run):
    results = gnnrec.evaluate(run)
    assert results.index.tolist() == ["validation", "test"]
    for split, row in results.iterrows():
        for name in ("rmse", "mae"):
            assert row[name] == pytest.approx(run.summary[f"{split}_{name}"], rel=1e-5)
    longer = gnnrec.evaluate(run, k=[10])
    assert 0 < longer.loc["test", "hit_rate@10"] <= 1
    pd.testing.assert_frame_equal(longer[results.columns], results)


def test_export_writes_what_the_command_writes(place, run, export):
    run_command(["export", str(run.directory), "--out", str(place / "exported_by_command")])
    for path in sorted(export.glob("*/*.parquet")):
        other = pd.read_parquet(place / "exported_by_command" / path.relative_to(export))
        pd.testing.assert_frame_equal(pd.read_parquet(path), other)


def test_export_of_new_users_and_other_formats(place, run, ratings):
    new = ratings.head(5).assign(userId="new").drop(columns="timestamp")
    out = gnnrec.export(run, place / "new", ratings=new, formats=["npy"], dtype="float16")
    vectors = np.load(out / "users.npy")
    embedded = gnnrec.embed(run, ratings=new)
    expected = np.hstack([embedded.users, embedded.user_interest])
    assert (vectors.shape, vectors.dtype) == (expected.shape, np.float16) and embedded.users.shape == (1, 8)
    np.testing.assert_allclose(vectors, expected, atol=1e-2)


@pytest.mark.slow
def test_report_of_one_run_and_of_several(place, run, small):
    page = gnnrec.report(run, users=1)
    assert page == run.directory / "report" / "report.html"
    assert f"{run.summary['test_rmse']:.4f}" in page.read_text()
    other = gnnrec.report([run, small], place / "both")
    assert "A comparison of 2 runs" in other.read_text()


@pytest.mark.slow
def test_compare_returns_the_table_of_its_directory(place, data):
    table = gnnrec.compare(data, place / "table", models=["global mean", "biases"], seeds=1, loader={"folds": 2})
    assert table["model"].tolist() == ["global mean", "biases"] and (table["seeds"] == 1).all()
    assert (table["rmse"] > 0.1).all() and (table["rmse_spread"] == 0).all()
    added = gnnrec.compare(
        data, place / "table", models=["global mean"], seeds=1, label="mean", resume=True, loader={"folds": 2}
    )
    assert added["model"].tolist() == ["mean"] and added["rmse"].tolist() == table["rmse"].tolist()[:1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p, d, r: gnnrec.prepare(p / "x", r, tset=0.1), "tset.*did you mean test"),
        (lambda p, d, r: gnnrec.prepare(p / "x", r, test="ten"), "^test=ten: must be a number"),
        (lambda p, d, r: gnnrec.prepare(p / "x", r, protocol="strng"), "did you mean strong"),
        (lambda p, d, r: gnnrec.prepare(p / "x"), "ratings="),
        (lambda p, d, r: gnnrec.prepare(p / "data", r), "pass overwrite=True$"),
        (lambda p, d, r: gnnrec.prepare(p / "x", r.drop(columns="rating")), "^the DataFrame of ratings .* rating"),
        (lambda p, d, r: gnnrec.prepare(p / "x", r.assign(userId=[1, "a"] * 300)), "DataFrame of ratings.*mixed"),
        (lambda p, d, r: gnnrec.train(d, p / "x", model={"dimm": 3}), "did you mean model.dim"),
        (lambda p, d, r: gnnrec.train(d, p / "x", model={"dim": "wide"}), "^model.dim=wide: must be a whole number"),
        (lambda p, d, r: gnnrec.train(d, p / "x", config=p / "no.yaml"), "^config=.*no.yaml: there is no such file"),
        (lambda p, d, r: gnnrec.train(p / "nothing", p / "x"), "not a prepared dataset"),
        (lambda p, d, r: gnnrec.recommend(p / "run", 99999), "^user=99999: no user in .* has this id"),
        (lambda p, d, r: gnnrec.recommend(p / "run", 7, top=0), "^top=0: "),
        (lambda p, d, r: gnnrec.predict(p / "run", r[["userId"]]), "^the DataFrame of pairs .*movie_column=...$"),
        (lambda p, d, r: gnnrec.predict(p / "run", r + 1e6), "no pair has a user and a movie of .* ratings=...$"),
        (lambda p, d, r: gnnrec.similar(p / "run", "nothing like it"), "^movie=nothing like it: no movie"),
        (lambda p, d, r: gnnrec.embed(p / "nothing"), "nothing does not exist"),
        (lambda p, d, r: gnnrec.Run(p / "nothing").summary, "summary.json is missing"),
        (lambda p, d, r: gnnrec.evaluate(p / "nothing"), "not a run directory"),
        (lambda p, d, r: gnnrec.evaluate(p / "run", checkpoint="bst"), "^checkpoint=bst: .*did you mean best"),
        (lambda p, d, r: gnnrec.export(p / "run", p / "x", chunk=0), "^chunk=0: must be at least 1"),
        (lambda p, d, r: gnnrec.export(p / "run", p / "run"), "holds something else than an export"),
        (lambda p, d, r: gnnrec.report(p / "run", p / "x", users=-1), "^users=-1: must be 0 or more"),
        (lambda p, d, r: gnnrec.report([p / "run", p / "run"]), "several runs need out="),
        (lambda p, d, r: gnnrec.compare(d, p / "x", models=["bias"]), "^models: bias is not a model .did you mean"),
        (lambda p, d, r: gnnrec.compare(d, p / "x", seeds=0), "^seeds=0: must be at least 1"),
    ],
)
def test_mistakes_raise_one_line_about_python_arguments(place, data, run, ratings, call, says):
    with pytest.raises(gnnrec.UserError, match=says) as caught:
        call(place, data, ratings)
    assert "\n" not in str(caught.value) and "--" not in str(caught.value)
    assert not (place / "x").exists()


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Sets the handlers of a notebook, since commands that ran in this process have left theirs."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.slow
def test_ctrl_c_saves_the_run_and_raises_keyboard_interrupt(place, data, usual_signals):
    before = [signal.getsignal(number) for number in SIGNALS]
    options = SMALL | {"optimizer": {"epochs": 150}, "baselines": False}
    records = place / "stopped" / "metrics.jsonl"

    def interrupt() -> None:
        while not (records.exists() and records.stat().st_size):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        gnnrec.train(data, place / "stopped", **options)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert (place / "stopped" / "stopped.json").exists()
    resumed = gnnrec.train(data, place / "stopped", resume="auto", **options)
    assert resumed.summary["steps"] == 450


def test_recommend_works_in_another_thread(run):
    results: list[pd.DataFrame] = []
    thread = threading.Thread(target=lambda: results.append(gnnrec.recommend(run, 7)))
    thread.start()
    thread.join(60)
    pd.testing.assert_frame_equal(results[0], gnnrec.recommend(run, 7))


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::FutureWarning", ROOT / "examples" / "movielens_notebook.py"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"test RMSE 0\.\d+ after epoch", result.stdout)


def test_prepare_takes_codes_clicks_and_files_of_a_split(place, ratings):
    with_code = ratings.assign(rating=ratings["rating"].where(ratings.index > 0, 99))
    for codes in (99, [99, -1]):
        data = gnnrec.prepare(place / "codes", with_code, not_rated=codes, shards=4, overwrite=True)
        assert data.num_ratings == len(ratings) - 1 and data.manifest.rating["max"] < 99
    clicks = gnnrec.prepare(place / "clicks", ratings.drop(columns="rating"), implicit=True, shards=4)
    assert set(clicks.rating) == {1.0}
    ratings[:400].to_csv(place / "train.csv", index=False)
    ratings[400:].to_csv(place / "test.csv", index=False)
    split = gnnrec.prepare(place / "split", train_file=place / "train.csv", test_file=place / "test.csv", shards=4)
    assert split.manifest.split["counts"]["test"] == len(ratings) - 400


def test_appended_ratings_are_in_the_dataset(place, ratings):
    late = ratings["timestamp"] > ratings["timestamp"].quantile(0.9)
    data = gnnrec.prepare(place / "growing", ratings[~late])
    grown = gnnrec.append(data, [ratings[late]])
    whole = gnnrec.prepare(place / "whole", ratings)
    assert grown.num_ratings == whole.num_ratings > data.num_ratings
    assert list(grown.users["user"])[: data.num_users] == list(data.users["user"])
    with pytest.raises(gnnrec.UserError, match="again=True"):
        gnnrec.append(data, ratings[late])
