"""Users without training ratings: from features alone, of the dataset or of files, told apart in exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import gnnrec
from gnnrec.cli.main import run_command
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.export_verify import VerifyOptions, verify
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import ratings_table
from tests.inference.recommended import recommend

pytestmark = pytest.mark.slow

USERS, MOVIES = 50, 40
#: All of their ratings are in the test split.
COLD = [3, 17, 40]


def features(first: int, last: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 2))[first:last], columns=["age", "height"])
    table["user"] = np.arange(first, last) + 1
    return table.assign(job=[("cook", "pilot")[k % 2] for k in range(first, last)])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    directory = tmp_path_factory.mktemp("users of features")
    rated = ratings_table(USERS, MOVIES, 900)
    rated = pd.DataFrame({"user": (rated["userId"] - 7) // 3 + 1, "movie": rated["movieId"], "rating": rated["rating"]})
    drawn = np.where(np.random.default_rng(1).random(len(rated)) < 0.1, "validation", "train")
    rated["split"] = np.where(rated["user"].isin(COLD), "test", drawn)
    rated.to_csv(directory / "ratings.csv", index=False)
    features(0, USERS - 1).to_csv(directory / "users.csv", index=False)
    options = {"ratings": directory / "ratings.csv", "split_column": "split", "shards": 6}
    prepare(directory / "data", PrepareOptions(**options, user_features=[str(directory / "users.csv")]))
    return PreparedDataset(directory / "data")


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "run"
    train(make_config(dataset.directory, directory, optimizer={"lr": 0.05}, interest={}), World())
    return directory


def users_of(out: Path) -> pd.DataFrame:
    verify(out, VerifyOptions())
    return pq.read_table(out / "users").to_pandas().set_index("user")


def test_a_user_with_the_features_of_a_cold_user_has_its_vector(dataset, run, tmp_path):
    """Known users keep what they have in the dataset, whatever the file says of them."""
    features(0, 60).replace({"user": {4: 901, 18: 902}}).to_csv(tmp_path / "new.csv", index=False)
    export(run, ExportOptions(tmp_path / "whole", part_rows=20), World())
    export(run, ExportOptions(tmp_path / "new", part_rows=20, user_features=[str(tmp_path / "new.csv")]), World())
    whole, new = users_of(tmp_path / "whole"), users_of(tmp_path / "new")
    assert set(whole.index[whole["cold"]]) == set(COLD)
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("whole", "new")]
    assert [manifest["cold_users"] for manifest in manifests] == [len(COLD), len(COLD) + 12]
    assert set(new.index[new["cold"]]) == {*COLD, 901, 902, *range(51, 61)} and len(new) == 60
    for known, other in ((3, 3), (17, 17), (8, 8), (50, 50)):
        np.testing.assert_allclose(whole["embedding"][known], new["embedding"][other], rtol=1e-4, atol=1e-6)
    # Features of rows 3 and 17 of the table are those of users 4 and 18.
    features(0, 60).replace({"user": {3: 801, 17: 802, 40: 803}}).to_parquet(tmp_path / "cold.parquet")
    export(run, ExportOptions(tmp_path / "cold", user_features=[str(tmp_path / "cold.parquet")]), World())
    cold = users_of(tmp_path / "cold")
    for known, other in zip(COLD, (801, 802, 803)):
        np.testing.assert_allclose(whole["embedding"][known], cold["embedding"][other], rtol=1e-4, atol=1e-6)
        assert whole["bias"][known] == pytest.approx(cold["bias"][other], rel=1e-4) and cold["bias"][other]
    assert np.stack(cold["embedding"].loc[[801, 802, 803]]).std(0).max() > 1e-3


def test_new_users_with_ratings_and_features(dataset, run, tmp_path):
    """Both count, and users of either file are there; one without features has missing values."""
    new = pd.DataFrame({"user": [901] * 4 + [902] * 3, "movie": dataset.movies["movie"][:7], "rating": 4.0})
    some = features(100, 103).assign(user=[901, 903, 904])
    without = gnnrec.embed(run, ratings=new)
    both = gnnrec.embed(
        run,
        ratings=new,
        user_features=[
            some,
        ],
    )
    assert list(both.users.index) == [901, 902, 903, 904] and list(without.users.index) == [901, 902]
    np.testing.assert_allclose(both.users.loc[902], without.users.loc[902], atol=1e-6)
    assert np.abs(both.users.loc[901] - without.users.loc[901]).max() > 1e-4
    alone = gnnrec.embed(run, user_features=some)
    np.testing.assert_allclose(alone.users.loc[903], both.users.loc[903], atol=1e-6)
    assert np.abs(alone.users.loc[901] - both.users.loc[901]).max() > 1e-4
    lists = gnnrec.recommend(run, [901, 903], ratings=new, user_features=some, top=5)
    assert lists["user"].tolist() == [901] * 5 + [903] * 5 and not set(lists["movie"][:5]) & set(new["movie"][:4])
    pairs = pd.DataFrame({"user": [903, 904], "movie": dataset.movies["movie"].iloc[0]})
    predicted = gnnrec.predict(run, pairs, user_features=some)["prediction"]
    assert predicted.notna().all() and predicted.nunique() == 2
    out = gnnrec.export(run, tmp_path / "out", user_features=some)
    assert set(users_of(out).index) == {901, 903, 904}
    # An export of the dataset's users encodes them without torch.
    encoded = gnnrec.embed(gnnrec.export(run, tmp_path / "whole"), ratings=new, user_features=some)
    for ours, theirs in ((encoded.users, both.users), (encoded.user_interest, both.user_interest)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoded.user_bias, both.user_bias, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="user_features.*: this model knows no features of users"):
        train(make_config(dataset.directory, tmp_path / "blind", model={"features": False}, max_steps=1), World())
        gnnrec.embed(gnnrec.export(tmp_path / "blind", tmp_path / "plain"), user_features=some)


def test_recommendations_of_runs_and_exports_by_command(dataset, run, tmp_path, capsys):
    features(100, 102).assign(user=[901, 902]).to_csv(tmp_path / "new.csv", index=False)
    words = ["--user-features", str(tmp_path / "new.csv")]
    run_command(["export", str(run), *words, "--out", str(tmp_path / "out")])
    capsys.readouterr()
    printed = []
    for source in (run, tmp_path / "out"):
        run_command(["recommend", str(source), *words, "--user", "902", "--top", "4"])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and len(printed[0].splitlines()) == 6
    run_command(["recommend", str(tmp_path / "out"), *words, "--all", "--out", str(tmp_path / "lists"), "--top", "3"])
    assert len(pq.read_table(tmp_path / "lists" / "recommendations")) == 6
    with pytest.raises(UserError, match="pass that file with --user-features"):
        recommend(tmp_path / "out", RecommendOptions(user="902"))


def test_mistakes_end_with_one_line(dataset, run, tmp_path):
    features(100, 102).drop(columns="age").to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(UserError, match="no column 'age', which the dataset was prepared with"):
        gnnrec.embed(run, user_features=tmp_path / "new.csv")
    train(make_config(dataset.directory, tmp_path / "blind", model={"features": False}, max_steps=1), World())
    with pytest.raises(UserError, match="user_features.*: this model knows no features of users"):
        gnnrec.recommend(tmp_path / "blind", 901, user_features=features(100, 102))
