"""Training on all ratings gives the model of a dataset without held-out ratings, and no test metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.training.run import train
from gnnrec.training.summary import NO_TEST
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset
from tests.reporting.conftest import page_of, section_names

pytestmark = pytest.mark.slow

FIXED = {"dim": 8, "users_a_step": 30, "l2": 50.0, "num_factors": 8, "popularity_exponent": 0.4}
OPTIONS = {
    "rating": {"model": {"layers": 2}},
    "ranking": {"objective": "ranking", "ranking": FIXED},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return write_dataset(tmp_path_factory.mktemp("all"), 60, 30, 900, validation=0.15, test=0.15)


@pytest.fixture(scope="module", params=OPTIONS)
def run(request, dataset, tmp_path_factory) -> gnnrec.Run:
    place = tmp_path_factory.mktemp(request.param) / "run"
    options = OPTIONS[request.param] | {"refit": "all", "baselines": True}
    train(make_config(dataset.directory, place, **options), World())
    return gnnrec.Run(place)


def test_the_model_is_that_of_a_dataset_without_held_out_ratings(dataset, run, tmp_path):
    whole = changed_copy(dataset, tmp_path / "whole", split=np.zeros_like(dataset.split))
    options = OPTIONS[run.config.objective]
    summary = train(make_config(whole.directory, tmp_path / "run", **options), World())
    assert run.summary["counts"]["training_ratings"] == summary["counts"]["training_ratings"] > 0
    assert run.summary["model_fingerprint"] == summary["model_fingerprint"]
    ours, theirs = gnnrec.embed(run), gnnrec.embed(tmp_path / "run")
    np.testing.assert_array_equal(ours.users.to_numpy(), theirs.users.to_numpy())
    np.testing.assert_array_equal(ours.movies.to_numpy(), theirs.movies.to_numpy())


def test_nothing_is_measured_and_one_line_says_why(dataset, tmp_path, capsys, run):
    summary = run.summary
    assert summary["no_test_metrics"] == NO_TEST
    assert not [name for name in summary if name.startswith(("test", "validation", "rmse_by")) or name == "baselines"]
    assert set(summary["counts"]) == {"users", "movies", "ratings", "training_ratings"}
    assert not [name for name in run.metrics.columns if name.startswith(("test_", "validation_"))]
    with pytest.raises(UserError, match="trained on all ratings, test included"):
        gnnrec.evaluate(run)
    page = page_of(run.directory, users=1)
    assert page.notices == [f"There are no test results: {NO_TEST}."]
    assert not [tile for tile in page.tiles if "test" in tile.label or "validation" in tile.label]
    assert "results" not in section_names(page)


def test_the_printed_lines(dataset, tmp_path, capsys):
    train(make_config(dataset.directory, tmp_path / "run", refit="all", baselines=True), World())
    lines = capsys.readouterr().out.splitlines()
    assert f"there will be no test metrics: {NO_TEST}" in lines
    assert lines[-1] == f"no test metrics: {NO_TEST}; summary: {tmp_path / 'run' / 'summary.json'}"
    assert not [line for line in lines if "RMSE" in line]


def test_all_ratings_are_known_to_exports_and_recommendations(dataset, run, tmp_path):
    out = gnnrec.export(run, tmp_path / "export")
    assert json.loads((out / "manifest.json").read_text())["message_splits"] == "all"
    user = dataset.users["user"][0]
    rated = set(dataset.movies["movie"][dataset.movie[: dataset.user_ptr[1]]])
    for source in (run, out):
        assert set(gnnrec.recommend(source, user, top=100)["movie"]) == set(dataset.movies["movie"]) - rated
    # A known user of a file keeps all ratings, so a rating that is there already changes nothing.
    first = {"userId": user, "movieId": dataset.movies["movie"][dataset.movie[0]], "rating": dataset.rating[0]}
    first["timestamp"] = dataset.timestamp[0]
    (tmp_path / "same.csv").write_text(",".join(first) + "\n" + ",".join(map(str, first.values())) + "\n")
    same = gnnrec.embed(run, ratings=tmp_path / "same.csv").users.loc[user]
    np.testing.assert_allclose(same, gnnrec.embed(run).users.loc[user], atol=1e-5)


def test_comparisons(dataset, run, tmp_path):
    train(make_config(dataset.directory, tmp_path / "other", **OPTIONS[run.config.objective]), World())
    page = gnnrec.report([run, tmp_path / "other"], tmp_path / "page").read_text()
    assert f"{run.directory.name} has no test results: {NO_TEST}." in page
    with pytest.raises(UserError, match="measures models on test ratings: leave out --refit all"):
        run_command(["compare", str(dataset.directory), "--out", str(tmp_path / "table"), "--set", "refit=all"])
    with pytest.raises(UserError, match='leave out refit="all"'):
        gnnrec.compare(dataset, tmp_path / "table", refit="all")
    with pytest.raises(UserError, match="needs validation ratings: leave out --refit"):
        run_command(["tune", str(dataset.directory), "--out", str(tmp_path / "study"), "--set", "refit=all"])
    assert not Path(tmp_path / "table").exists()
