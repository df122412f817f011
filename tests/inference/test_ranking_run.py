"""A ranking model from training to recommendations: metrics repeat, vectors give scores, seen movies are left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gnnrec.cli.main import run_command
from gnnrec.config.train_config import read_train_config
from gnnrec.data.prepared import TEST, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.inference.export import ExportOptions, export
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.ranking.closed_form_start import NOISE
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.recommended import recommend

USERS, MOVIES, DIM = 80, 30, 6


def write_ranking_data(directory: Path, protocol: str) -> PreparedDataset:
    options = {"test": 0.2, "validation": 0.2, "shards": 8} | ({"relevant": 3.5} if protocol == "strong" else {})
    return write_dataset(directory, USERS, MOVIES, 1200, protocol=protocol, **options)


@pytest.fixture(scope="module", params=["strong", "random"])
def dataset(request, tmp_path_factory) -> PreparedDataset:
    return write_ranking_data(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def run(dataset) -> Path:
    config = make_config(
        dataset.directory,
        dataset.directory.parent / "run",
        objective="ranking",
        ranking={"dim": DIM, "users_a_step": 20},
        optimizer={"epochs": 3, "lr": None, "warmup_steps": None},
        baselines=True,
    )
    train(config, World())
    return config.run_dir


@pytest.fixture(scope="module")
def exported(run, dataset) -> Path:
    out = dataset.directory.parent / "export"
    export(run, ExportOptions(out, part_rows=25), World())
    return out


def vectors(out: Path, kind: str) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in sorted((out / f"{kind}s").iterdir())]
    return pd.concat(parts).set_index(kind)


def test_the_summary_has_ranking_metrics_beside_those_of_baselines(run):
    summary = json.loads((run / "summary.json").read_text())
    names = {"recall@20", "recall@50", "ndcg@100", "mrr", "coverage"}
    for split in ("test", "validation"):
        assert all(0 < summary[f"{split}_{name}"] <= 1 for name in names)
    assert set(summary["baselines"]) == {"popularity", "recent popularity", "item kNN", "EASE"}
    assert all(0 < row[f"test_{name}"] <= 1 for row in summary["baselines"].values() for name in names)
    assert summary["counts"]["test_users"] > 5 and summary["steps"] > 5


def test_the_initial_model_is_a_checkpoint(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validated = [record["validation_ndcg@100"] for record in records if "validation_ndcg@100" in record]
    steps = [record["step"] for record in records if "validation_ndcg@100" in record]
    assert len(validated) == 4 and steps[0] == 0
    best = read_info(find_checkpoint(run, "best"))
    users = json.loads((run / "summary.json").read_text())["counts"]["validation_users"]
    gains = max(validated) > validated[0] + NOISE / users**0.5  # training must gain a standard error
    assert best.epoch == (int(np.argmax(validated)) if gains else 0)
    assert best.validation["ndcg@100"] == validated[best.epoch]


def test_the_saved_configuration_is_resolved(run):
    config = read_train_config(run / "config.yaml")
    assert (config.optimizer.lr, config.optimizer.warmup_steps, config.ranking.dropout) == (2e-4, 0, 0.5)


def test_evaluate_repeats_the_summary(run):
    found = evaluate(run, EvaluateOptions(), World())
    summary = json.loads((run / "summary.json").read_text())
    for split in ("test", "validation"):
        for name, value in found[split][0].figures().items():
            assert value == pytest.approx(summary[f"{split}_{name}"], rel=1e-6)


def test_evaluate_prints_metrics_at_any_length(run, capsys):
    found = evaluate(run, EvaluateOptions(k=[5, 20]), World())
    shown = capsys.readouterr().out.splitlines()
    for metrics in (found["test"][0], found["validation"][0]):
        assert metrics.at["recall@20"] == pytest.approx(metrics.recall_at_20)
        assert metrics.at["ndcg@20"] == pytest.approx(metrics.ndcg_at_20)
        assert metrics.at["coverage@20"] == pytest.approx(metrics.coverage)
        assert 0 < metrics.at["hit_rate@5"] <= metrics.at["hit_rate@20"] <= 1
    assert shown.count(f"{'at':16}{5:12}{20:12}") == 2
    assert f"{'map_all':16}{found['test'][0].at['map_all@5']:12.4f}{found['test'][0].at['map_all@20']:12.4f}" in shown


def test_the_manifest_describes_scores(run, exported, dataset):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["objective"], manifest["score"]) == ("ranking", "dot(user.embedding, movie.embedding)")
    assert (manifest["users"], manifest["movies"], manifest["dim"]) == (USERS, MOVIES, DIM)
    assert manifest["relevant"] == (3.5 if dataset.manifest.split["protocol"] == "strong" else 4.0)
    assert manifest["offset"] == 0
    users, movies = vectors(exported, "user"), vectors(exported, "movie")
    assert (users["bias"] == 0).all() and (movies["bias"] == 0).all()
    assert users.index.tolist() == dataset.users["user"].tolist()


def test_user_vectors_are_sums_over_liked_movies_outside_of_test(run, exported, dataset):
    model = load_run(run, World()).model
    relevant = 3.5 if dataset.manifest.split["protocol"] == "strong" else 4.0
    liked = np.zeros((USERS, MOVIES))
    owner = np.repeat(np.arange(USERS), np.diff(dataset.user_ptr))
    chosen = (np.asarray(dataset.rating) >= relevant) & (np.asarray(dataset.split) != TEST)
    if dataset.manifest.split["protocol"] == "strong":
        chosen &= np.asarray(dataset.split) != 5  # ratings that the protocol does not use
    liked[owner[chosen], dataset.movie[chosen]] = 1
    expected = liked @ model.message_embedding.detach().numpy()
    np.testing.assert_allclose(np.stack(vectors(exported, "user")["embedding"]), expected, rtol=1e-4, atol=1e-5)
    discounted = model.target * (model.popularity[:, None] + 10) ** -model.popularity_exponent
    found = np.stack(vectors(exported, "movie")["embedding"])
    np.testing.assert_allclose(found, discounted.detach().numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("row", [0, 33, USERS - 1])
def test_recommendations_are_the_best_unseen_movies_of_the_export(run, exported, dataset, row, capsys):
    user = dataset.users["user"].iloc[row]
    found = recommend(run, RecommendOptions(str(user), top=5))
    assert list(found.columns) == ["rank", "movie", "title", "score"]
    rated = dataset.movies["movie"].iloc[np.asarray(dataset.movie[dataset.user_ptr[row] : dataset.user_ptr[row + 1]])]
    users, movies = vectors(exported, "user"), vectors(exported, "movie")
    scores = pd.Series(np.stack(movies["embedding"]) @ users["embedding"].loc[user], movies.index).drop(rated)
    best = scores.sort_values(ascending=False).head(5)
    np.testing.assert_allclose(found["score"], best, rtol=1e-4, atol=1e-6)
    assert not set(found["movie"]) & set(rated)
    run_command(["recommend", str(run), "--user", str(user)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"for user {user}" and f"{found['score'].iloc[0]:.4f}" in lines[2]


def export_on_ranks(world: World, run: str, out: str) -> None:
    export(Path(run), ExportOptions(Path(out)), world)


@pytest.mark.slow
def test_two_ranks_export_the_same_as_one(run, exported, tmp_path):
    run_on_ranks(2, export_on_ranks, str(run), str(tmp_path / "two"))
    for kind in ("user", "movie"):
        one, two = vectors(exported, kind), vectors(tmp_path / "two", kind)
        assert one.index.tolist() == two.index.tolist()
        np.testing.assert_allclose(np.stack(one["embedding"]), np.stack(two["embedding"]), rtol=1e-6)
