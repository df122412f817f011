"""The same ratings in another unit, or with another zero, give the same model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.baselines.rating import RATING_BASELINES
from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.run import train
from tests.configs import SAMPLED, make_config
from tests.datasets import ratings_table
from tests.inference.exports import exported, table_of
from tests.inference.recommended import recommend

pytestmark = pytest.mark.slow

#: Factor and shift of the ratings: new = factor * old + shift. The standard deviation of the old ones is about 1.
UNITS = {
    "thousandths": (1e-3, 0.0),
    "fifths": (0.2, 0.0),
    "doubled": (2.0, 0.0),
    "percent": (20.0, 0.0),
    "millions": (1e6, 0.0),
    "higher": (1.0, 1000.0),
    "lower, fifths": (0.2, -200.0),
}
MODELS = {
    "gcn": {"model": {"architecture": "gcn"}},
    "sage": {"model": {"architecture": "sage", "layers": 2}},
    "gat": {"model": {"architecture": "gat"}, "loader": SAMPLED},
    "mlp": {"model": {"head": "mlp", "head_dim": 12}},
}
USERS = (7, 28, 115)


def prepared(directory: Path, table: pd.DataFrame) -> PreparedDataset:
    directory.mkdir(parents=True)
    table.to_csv(directory / "ratings.csv", index=False)
    prepare(directory / "prepared", PrepareOptions(ratings=directory / "ratings.csv", validation=0.1))
    return PreparedDataset(directory / "prepared")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Columns without the names of GroupLens, so that the scale is that of the ratings."""
    names = {"userId": "user", "movieId": "item", "rating": "score", "timestamp": "timestamp"}
    return ratings_table(61, 31, 900).rename(columns=names)


@pytest.fixture(scope="module")
def datasets(table, tmp_path_factory) -> dict[str, PreparedDataset]:
    """The dataset in every unit; ``plain`` is the original."""
    directory = tmp_path_factory.mktemp("units")
    return {
        name: prepared(directory / name.replace(",", ""), table.assign(score=table["score"] * factor + shift))
        for name, (factor, shift) in {"plain": (1.0, 0.0), **UNITS}.items()
    }


def exported_ratings(out: Path, row: np.ndarray, movie: np.ndarray) -> np.ndarray:
    """Ratings of pairs by the files of an export with the dot head, clipped to the scale."""
    manifest = json.loads((out / "manifest.json").read_text())
    _, users, user_bias = table_of(out, "user")
    _, movies, movie_bias = table_of(out, "movie")
    dots = (users[row].astype(np.float64) * movies[movie]).sum(1)
    return (manifest["offset"] + user_bias[row] + movie_bias[movie] + dots).clip(*manifest["rating_scale"])


@pytest.mark.parametrize("model", MODELS)
def test_errors_are_in_the_unit_and_lists_are_the_same(datasets, tmp_path, model):
    summaries, lists = {}, {}
    for name, dataset in datasets.items():
        run = tmp_path / name.replace(",", "")
        summaries[name] = train(make_config(dataset.directory, run, **MODELS[model]), World())
        lists[name] = [recommend(run, RecommendOptions(str(user), top=5)) for user in USERS]
    plain = summaries["plain"]
    assert plain["test_rmse"] != plain["test_rmse_without_time"]
    for name, (factor, shift) in UNITS.items():
        for metric in ("test_rmse", "test_mae", "test_rmse_without_time", "validation_rmse_without_time"):
            assert summaries[name][metric] / factor == pytest.approx(plain[metric], rel=1e-4), (name, metric)
        for ours, expected in zip(lists[name], lists["plain"]):
            assert ours["movie"].tolist() == expected["movie"].tolist(), name
            np.testing.assert_allclose((ours["rating"] - shift) / factor, expected["rating"], atol=3e-3)


@pytest.mark.parametrize("baseline", RATING_BASELINES)
def test_baselines_are_the_same_in_every_unit(datasets, baseline):
    kind = RATING_BASELINES[baseline]
    expected = kind.fit(datasets["plain"], World(), (TRAIN,), 0, kind.grid[-1]).metrics(TEST)
    for name, (factor, _) in UNITS.items():
        metrics = kind.fit(datasets[name], World(), (TRAIN,), 0, kind.grid[-1]).metrics(TEST)
        assert metrics.rmse / factor == pytest.approx(expected.rmse, rel=1e-4), name
        assert metrics.rmse_without_time == metrics.rmse


def test_the_rmse_without_time_is_that_of_the_exported_files(datasets, tmp_path):
    for name in ("plain", "percent", "higher"):
        dataset = datasets[name]
        summary = train(make_config(dataset.directory, tmp_path / name), World())
        exported(tmp_path / name, tmp_path / f"{name}-export")
        test = np.array(dataset.split) == TEST
        row = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))[test]
        predicted = exported_ratings(tmp_path / f"{name}-export", row, np.array(dataset.movie)[test])
        rmse = np.sqrt(np.mean((predicted - np.array(dataset.rating, np.float64)[test]) ** 2))
        std = dataset.manifest.rating["std"]
        # A float32 has four digits behind the point where ratings are around 1000.
        tolerance = 1e-4 if name == "higher" else 1e-5
        assert rmse / std == pytest.approx(summary["test_rmse_without_time"] / std, abs=tolerance)


def test_new_users_are_embedded_in_the_unit(datasets, table, tmp_path):
    found = {}
    for name, (factor, shift) in {"plain": (1.0, 0.0), "percent": UNITS["percent"]}.items():
        run = tmp_path / name
        train(make_config(datasets[name].directory, run), World())
        rows = table[table["user"] == 28].assign(user=100_000)
        rows.assign(score=rows["score"] * factor + shift).to_csv(tmp_path / f"{name}.csv", index=False)
        found[name] = recommend(run, RecommendOptions("100000", top=5, ratings=tmp_path / f"{name}.csv"))
    assert found["plain"]["movie"].tolist() == found["percent"]["movie"].tolist()
    np.testing.assert_allclose(found["percent"]["rating"] / 20, found["plain"]["rating"], atol=1e-4)


RNG = np.random.default_rng(0)
UNUSUAL = {
    "two ratings": lambda table: (table["score"] > 3.5).astype(int),
    "a thousand ratings": lambda table: (table["score"] * 200 + RNG.normal(0, 30, len(table))).round(0),
    "counts": lambda table: np.ceil(np.exp(table["score"] * 1.2 + RNG.normal(0, 0.5, len(table)))),
    "all equal": lambda table: 0 * table["score"] + 3,
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_ratings_train_and_beat_their_mean(table, tmp_path, name):
    dataset = prepared(tmp_path / "data", table.assign(score=UNUSUAL[name](table)))
    config = make_config(dataset.directory, tmp_path / "run", baselines=True, optimizer={"epochs": 4})
    summary = train(config, World())
    mean = summary["baselines"]["global mean"]["test_rmse"]
    assert np.isfinite(summary["test_rmse"])
    if name == "all equal":
        assert summary["test_rmse"] == pytest.approx(0, abs=1e-2) and mean == 0
    else:
        assert summary["test_rmse_without_time"] < mean
    assert all(np.isfinite(row["test_rmse"]) for row in summary["baselines"].values())
