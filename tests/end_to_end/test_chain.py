"""From ratings to recommendations, by the commands of the README."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.config.train_config import read_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from tests.end_to_end.commands import GNNREC, succeed
from tests.end_to_end.conftest import Chain
from tests.inference.recommended import recommend


def read_parts(directory: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(directory.glob("part-*.parquet"))], ignore_index=True)


def test_training_leaves_a_summary(chain: Chain):
    summary, dataset = chain.summary, PreparedDataset(chain.data)
    floor = json.loads((chain.directory / "ratings" / "floor.json").read_text())["floor"]
    for rmse, mae in [
        (summary["test_rmse"], summary["test_mae"]),
        (summary["validation_rmse"], summary["validation_mae"]),
        *((row["test_rmse"], row["test_mae"]) for row in summary["baselines"].values()),
    ]:
        assert 0.5 * floor["rmse"] < rmse < 2 and 0 < mae <= rmse
    assert set(summary["baselines"]) == {"global mean", "biases", "biased MF (ALS)"}
    assert summary["test_rmse"] < summary["baselines"]["global mean"]["test_rmse"]
    assert summary["edges_per_second"] > 0 and summary["training_seconds"] > 0 and summary["peak_memory_gib"] > 0
    assert (summary["steps"], summary["world_size"], summary["device"]) == (8, 2, "cpu")
    splits = dataset.manifest.split["counts"]
    assert summary["counts"] == {
        "users": 120,
        "movies": dataset.num_movies,
        "ratings": 3000,
        "training_ratings": splits["train"],
        "validation_ratings": splits["validation"],
        "test_ratings": splits["test"],
    }
    assert summary["dataset_fingerprint"] == dataset.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", summary["model_fingerprint"])
    assert sum(summary["partition"]["users"]) == 120 and sum(summary["partition"]["edges"]) == 3000


def test_training_records_its_progress(chain: Chain):
    records = [json.loads(line) for line in (chain.run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in records] == sorted(row["step"] for row in records)
    assert [row["step"] for row in records if "loss" in row] == [3, 6]
    assert all(row["edges_per_second"] > 0 and math.isfinite(row["loss"]) for row in records if "loss" in row)
    assert any("validation_rmse" in row for row in records) and "test_rmse" in records[-1]


def test_training_prints_partition_epochs_and_results(chain: Chain):
    lines = chain.printed["train"].splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["objective", "rank 0", "rank 1"]
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/4", "2/4", "3/4"]
    of_ratings, of_lists = (line for line in lines if line.startswith("this model"))
    assert f"{chain.summary['test_rmse']:.4f}" in of_ratings
    assert f"{chain.summary['lists']['test_recall@20']:.4f}" in of_lists and "summary.json" in lines[-1]


def test_the_resolved_configuration_is_kept(chain: Chain):
    config = read_train_config(chain.run / "config.yaml")
    assert (config.model.dim, config.loader.folds, config.max_steps) == (8, 3, 8)
    assert config.wandb.mode == "offline"


def test_both_checkpoints_are_there(chain: Chain):
    for name in ("best", "last"):
        info = read_info(find_checkpoint(chain.run, name))
        assert info.dataset == chain.summary["dataset_fingerprint"]
    assert not list(chain.directory.rglob("*.tmp-*"))


def test_evaluate_on_one_rank_repeats_what_training_found_on_two(chain: Chain):
    both = r"([\d.]+) without time \(([\d.]+) with\)"
    test = re.search(rf"test +RMSE {both}  MAE {both}  ([\d,]+) ratings", chain.printed["evaluate"])
    for number, name in enumerate(("rmse_without_time", "rmse", "mae_without_time", "mae"), 1):
        assert float(test[number]) == pytest.approx(chain.summary[f"test_{name}"], abs=1e-4)
    assert int(test[5].replace(",", "")) == chain.summary["counts"]["test_ratings"]


def test_export_has_every_user_and_movie_under_its_raw_id(chain: Chain):
    dataset, manifest = PreparedDataset(chain.data), json.loads((chain.export / "manifest.json").read_text())
    users, movies = read_parts(chain.export / "users"), read_parts(chain.export / "movies")
    assert users["user"].tolist() == dataset.users["user"].tolist()
    assert movies["movie"].tolist() == dataset.movies["movie"].tolist()
    assert (manifest["users"], manifest["movies"]) == (len(users), len(movies))
    dim = 8 + chain.summary["chosen"]["interest_factors"]
    assert manifest["dim"] == dim and manifest["interest"]["columns"] == [8, dim]
    for table in (users, movies):
        vectors = np.stack(table["embedding"])
        assert vectors.shape == (len(table), dim) and vectors.dtype == np.float32 and np.isfinite(vectors).all()
    assert len(list((chain.export / "users").iterdir())) > 4, "--part-rows 25"
    assert manifest["dataset_fingerprint"] == chain.summary["dataset_fingerprint"]
    assert manifest["model_fingerprint"] == chain.summary["model_fingerprint"]
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((chain.export / name).read_bytes()).hexdigest() == entry["sha256"]


def score_from_export(export: Path, user: int) -> tuple[pd.Series, pd.Series]:
    """Scores and predicted ratings of one user by raw movie id, from the exported files alone."""
    manifest = json.loads((export / "manifest.json").read_text())
    users, movies = read_parts(export / "users").set_index("user"), read_parts(export / "movies").set_index("movie")
    products = np.stack(movies["embedding"]) * users.loc[user, "embedding"]
    rest = manifest["offset"] + users.loc[user, "bias"] + movies["bias"]
    ratings = rest + products[:, : manifest["interest"]["columns"][0]].sum(1)
    return rest + products.sum(1), ratings.clip(*manifest["rating_scale"])


def test_recommendations_are_the_best_unrated_movies_by_the_exported_vectors(chain: Chain):
    dataset = PreparedDataset(chain.data)
    for row in (0, 119):  # one user of either rank
        user = dataset.users["user"].iloc[row]
        rated = dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]]
        rated = dataset.movies["movie"].iloc[np.asarray(rated)]
        table = recommend(chain.run, RecommendOptions(user=str(user), top=5))
        scores, ratings = score_from_export(chain.export, user)
        assert not set(table["movie"]) & set(rated)
        np.testing.assert_allclose(table["score"], scores[table["movie"]], atol=1e-4)
        np.testing.assert_allclose(table["rating"], ratings[table["movie"]], atol=1e-4)
        best = scores.drop(rated).sort_values(ascending=False)[: len(table)]
        np.testing.assert_allclose(table["score"], best, atol=1e-4)


def test_recommend_prints_titles(chain: Chain):
    user = str(PreparedDataset(chain.data).users["user"].iloc[7])
    table = recommend(chain.run, RecommendOptions(user=user, top=3))
    lines = succeed([*GNNREC, "recommend", chain.run, "--user", user, "--top", 3]).splitlines()
    assert lines[0] == f"for user {user}" and lines[1].startswith("who rated highest: ")
    assert lines[2] == "rank, score, predicted rating, title"
    for line, row in zip(lines[3:], table.itertuples(), strict=True):
        assert line.split(None, 3) == [str(row.rank), f"{row.score:.4f}", f"{row.rating:.2f}", row.title]
        assert row.title != str(row.movie)
