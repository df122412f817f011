"""A split given as files trains, resumes, evaluates and exports like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from tests.data.file_tables import ratings
from tests.training.test_resume import run

pytestmark = pytest.mark.slow

TRAIN = (
    "--optimizer.epochs 3 --model.dim 8 --loader.folds 3 --baselines false --device cpu --wandb.mode disabled".split()
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """``train.csv``, ``validation.csv`` and ``test.csv`` of a cut in time, and the dataset ``data``."""
    place = tmp_path_factory.mktemp("given")
    cut = ratings().sort_values("time", kind="stable")
    for name, part in (("train", cut[:720]), ("validation", cut[720:780]), ("test", cut[780:])):
        part.to_csv(place / f"{name}.csv", index=False)
    files = [
        word for name in ("train", "validation", "test") for word in (f"--{name}-file", str(place / f"{name}.csv"))
    ]
    run_command(["prepare", str(place / "data"), *files, "--shards", "4"])
    return place


def config(place: Path, name: str, *more: str):
    return parse_train_config(["--data", str(place / "data"), "--run-dir", str(place / name), *TRAIN, *more])


def test_a_run_is_stopped_resumed_evaluated_and_exported(place, capsys):
    whole = run(config(place, "run"))
    assert run(config(place, "stopped"), reads=3).startswith("by SIGTERM")
    resumed = run(config(place, "stopped", "--resume", "auto"))
    names = ("test_rmse", "test_rmse_without_time", "validation_rmse", "steps")
    assert [resumed[name] for name in names] == pytest.approx([whole[name] for name in names], rel=1e-6)
    run_command(["evaluate", str(place / "run"), "--device", "cpu"])
    assert f"{whole['test_rmse_without_time']:.4f}" in capsys.readouterr().out
    run_command(["export", str(place / "run"), "--out", str(place / "export"), "--device", "cpu"])
    users = pq.read_table(place / "export" / "users").to_pandas()
    assert set(users["user"]) == set(ratings()["user"])
    # The error over the user's own test file, predicted from the export, is the one that the run reports.
    pairs = place / "test.csv"
    words = ["--pairs", str(pairs), "--out", str(place / "predicted.csv")]
    run_command(["predict", str(place / "export"), *words])
    predicted, test = pd.read_csv(place / "predicted.csv"), pd.read_csv(pairs)
    assert predicted[["user", "movie"]].equals(test[["user", "movie"]])
    error = np.sqrt(((predicted["prediction"] - test["rating"]) ** 2).mean())
    assert error == pytest.approx(whole["test_rmse_without_time"], rel=1e-3)


def test_test_ratings_are_those_of_the_file(place):
    data = PreparedDataset(place / "data")
    counts = json.loads((place / "data" / "manifest.json").read_text())["split"]["counts"]
    assert (counts["train"], counts["validation"], counts["test"]) == (720, 60, 120)
    assert float(data.rating[data.split == 2].sum()) == pd.read_csv(place / "test.csv")["rating"].sum()


def test_clicks_are_ranked(place):
    path = place / "clicks.csv"
    ratings().drop(columns="rating").to_csv(path, index=False)
    words = ["--ratings", str(path), "--implicit", "--protocol", "leave-last", "--shards", "4"]
    run_command(["prepare", str(place / "clicks"), *words])
    options = ["--data", str(place / "clicks"), "--run-dir", str(place / "ranked"), *TRAIN, "--ranking.dim", "8"]
    with pytest.raises(Exception, match="has no ratings to predict: train with --objective ranking"):
        run(parse_train_config([*options, "--objective", "rating"]))
    summary = run(parse_train_config(options))
    # Each user has one movie to find, which is among all 40.
    assert summary["counts"]["test_users"] == 60 and summary["test_recall@50"] == 1.0
    assert 0 < summary["test_ndcg@100"] < 1
