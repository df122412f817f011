"""Users of a file, encoded with an export of the dataset's users, are those that the run itself embeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.open_source import open_source
from gnnrec.inference.recommend_options import RecommendOptions
from tests.inference.encoder_models import make_runs

pytestmark = pytest.mark.slow

NAMES = ["sage, interest", "gat, features", "gcn, self-loops, 2 layers, features", "ranking in order"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    return make_runs(tmp_path_factory.mktemp("encoded users"), NAMES)


@pytest.fixture(scope="module")
def new(runs, tmp_path_factory) -> Path:
    """Ratings of two new users, and further ratings of two known ones."""
    rows = [(901, 2, 5.0, 9), (901, 12, 1.0, 5), (901, 22, 4.0, 5), (902, 7, 4.5, 3)]
    rows += [(user, movie, 4.5, 2_000_000_000) for user in (10, 13) for movie in (2, 17, 52, 97)]
    path = tmp_path_factory.mktemp("new") / "new.csv"
    pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"]).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_they_have_the_vectors_of_the_run(runs, new, name, tmp_path):
    run = runs[name]
    export(run, ExportOptions(tmp_path / "out", own_rows="features" in name), World())
    options = RecommendOptions(ratings=new)
    found, expected = (open_source(place, options) for place in (tmp_path / "out", run))
    assert found.num_users == expected.num_users == 4
    ours, theirs = found.block(range(4)), expected.block(range(4))
    assert ours.ids.equals(theirs.ids)
    np.testing.assert_allclose(ours.vectors, theirs.vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.bias, theirs.bias, rtol=1e-4, atol=1e-5)
    before = gnnrec.embed(tmp_path / "out")
    for row in range(2):  # the known ones have changed
        old = before.users.loc[ours.ids[row].as_py()]
        assert np.abs(ours.vectors[row, : len(old)] - old).max() > 1e-4
    lists = [gnnrec.recommend(place, [901, 10], top=4, ratings=new) for place in (tmp_path / "out", run)]
    assert lists[0]["movie"].tolist() == lists[1]["movie"].tolist()
    reasons = gnnrec.recommend(tmp_path / "out", [901, 10], top=4, ratings=new, why=1)
    for score, why in zip(reasons["score"], reasons["why"]):
        assert why["sum"] == pytest.approx(score, abs=1e-5) and abs(why["rest"]) < 1e-5


def test_known_users_whose_own_rows_are_needed(runs, new, tmp_path, capsys):
    export(runs["gat, features"], ExportOptions(tmp_path / "out"), World())
    words = ["recommend", str(tmp_path / "out"), "--ratings", str(new), "--top", "2"]
    capsys.readouterr()
    run_command([*words, "--user", "901"])
    assert "for user 901" in capsys.readouterr().out
    with pytest.raises(UserError, match="pass the run, or export with --own-rows"):
        run_command([*words, "--user", "10"])
    with pytest.raises(UserError, match="--user 7777: no user in .*new.csv has this id"):
        run_command([*words, "--user", "7777"])
