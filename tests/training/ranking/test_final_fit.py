"""The closed form is fitted again with the validation users where training adds nothing, against NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gnnrec.data.prepared import TEST, TEST_INPUT, TRAIN, UNUSED, VALIDATION, VALIDATION_INPUT, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import Stopped
from gnnrec.evaluation.metrics import Metrics
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.inference.load import load_run
from gnnrec.inference.recommend_options import RecommendOptions
from gnnrec.training.checkpoint.info import find_checkpoint, read_info
from gnnrec.training.ranking import trainer as trainer_module
from gnnrec.training.run import train
from tests.configs import make_config
from tests.datasets import changed_copy, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.recommended import recommend
from tests.training.ranking.dense_model import item_weights, likes_and_weak, ndcg, scores, table

MOVIES, RELEVANT = 40, 3.5


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    options = {"protocol": "strong", "test": 0.2, "validation": 0.2, "relevant": RELEVANT, "shards": 7}
    return write_dataset(tmp_path_factory.mktemp("final"), 150, MOVIES, 2800, **options)


def config_of(dataset: PreparedDataset, run: Path, epochs: int = 2, ranking: dict | None = None, **options):
    ranking = {"dim": MOVIES, "num_factors": MOVIES, "users_a_step": 40} | (ranking or {})
    optimizer = {"epochs": epochs, "lr": None, "warmup_steps": None}
    return make_config(dataset.directory, run, objective="ranking", optimizer=optimizer, ranking=ranking, **options)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "NOISE", 1e9)
        train(config_of(dataset, place), World())
    return place


def summary_of(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def validated(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["validation_ndcg@100"] for record in records if "validation_ndcg@100" in record]


def of_split(dataset: PreparedDataset, *splits: int) -> np.ndarray:
    return table(dataset, np.isin(dataset.split, splits) & (np.asarray(dataset.rating) >= RELEVANT))


def expected_scores(dataset: PreparedDataset, run: Path, splits: tuple[int, ...], shown: np.ndarray) -> np.ndarray:
    """Scores of the closed form of full rank, fitted on some splits."""
    chosen = summary_of(run)["chosen"]
    likes, weak = likes_and_weak(dataset, splits, (UNUSED,), RELEVANT)
    weights = item_weights(likes, weak, chosen["l2"], chosen["weak_weight"])
    return scores(likes, weights, shown, chosen["popularity_exponent"])


def test_test_metrics_are_those_of_train_and_validation_users_and_validation_of_train_users_alone(dataset, run):
    summary = summary_of(run)
    candidates = of_split(dataset, TRAIN).any(0)
    for split, shown, fitted in (
        ("validation", VALIDATION_INPUT, (TRAIN,)),
        ("test", TEST_INPUT, (TRAIN, VALIDATION, VALIDATION_INPUT)),
    ):
        known, wanted = of_split(dataset, shown), of_split(dataset, TEST if split == "test" else VALIDATION)
        found = ndcg(expected_scores(dataset, run, fitted, known), known, wanted, candidates)
        assert summary[f"{split}_ndcg@100"] == pytest.approx(found, abs=1e-4), split
        measured = evaluate(run, EvaluateOptions(), World())[split][0]
        assert measured.ndcg_at_100 == pytest.approx(found, abs=1e-4), split
    users = np.unique(of_split(dataset, TRAIN, VALIDATION, VALIDATION_INPUT).nonzero()[0])
    assert summary["chosen"]["final_users"] == len(users)


def test_recommendations_are_those_of_the_final_fit(dataset, run):
    known = of_split(dataset, TRAIN, VALIDATION, VALIDATION_INPUT, TEST_INPUT)
    expected = expected_scores(dataset, run, (TRAIN, VALIDATION, VALIDATION_INPUT), known)
    rated = table(dataset, np.ones(dataset.num_ratings, bool)) > 0
    for row in (3, 77):
        found = recommend(run, RecommendOptions(user=str(dataset.users["user"].iloc[row]), top=5))
        best = np.argsort(-np.where(rated[row], -np.inf, expected[row]), kind="stable")[:5]
        assert found["movie"].tolist() == dataset.movies["movie"].iloc[best].tolist()
        np.testing.assert_allclose(found["score"], expected[row][best], atol=1e-4)


def test_trained_weights_that_gain_less_than_noise_are_left_out(run, capsys):
    summary, by_epoch = summary_of(run), validated(run)
    assert len(by_epoch) == 3 and summary["best_epoch"] == 0
    assert summary["training_gain"] == pytest.approx(max(by_epoch[1:]) - by_epoch[0])
    assert summary["validation_ndcg@100"] == pytest.approx(by_epoch[0])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["training_gain"] for record in records if "training_gain" in record] == [summary["training_gain"]]


def test_trained_weights_that_gain_are_kept_and_not_fitted_again(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "NOISE", -1e9)
    summary = train(config_of(dataset, tmp_path / "run", epochs=3), World())
    by_epoch = validated(tmp_path / "run")
    assert summary["best_epoch"] == int(np.argmax(by_epoch)) or max(by_epoch[1:]) <= by_epoch[0]
    files = read_info(find_checkpoint(tmp_path / "run", "best")).files
    assert ("final.pt" in files) == (summary["best_epoch"] == 0)


@pytest.mark.parametrize("options", [{"ranking": {"validation_users": False}}, {"refit": True}])
def test_where_the_closed_form_is_not_fitted_again(dataset, tmp_path, monkeypatch, options):
    monkeypatch.setattr(trainer_module, "NOISE", 1e9)
    summary = train(config_of(dataset, tmp_path / "run", epochs=1, **options), World())
    assert "final_users" not in summary["chosen"]
    assert "final.pt" not in read_info(find_checkpoint(tmp_path / "run", "best")).files


def test_test_ratings_are_not_read(dataset, run, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "NOISE", 1e9)
    split, rating = np.asarray(dataset.split), np.array(dataset.rating)
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    of_test = np.isin(user, user[np.isin(split, (TEST, TEST_INPUT))])
    rating[of_test] = 0.5
    others = changed_copy(dataset, tmp_path / "others", rating=rating)
    train(config_of(others, tmp_path / "run"), World())
    first, second = (read_info(find_checkpoint(place, "best")).files for place in (run, tmp_path / "run"))
    assert first == second and "final.pt" in first


def test_a_resumed_run_fits_the_same(dataset, run, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "NOISE", 1e9)

    def stop(epochs: int, metrics: Metrics) -> None:
        if epochs == 1:
            raise Stopped("by the test")

    with pytest.raises(Stopped):
        train(config_of(dataset, tmp_path / "run"), World(), stop)
    summary = train(config_of(dataset, tmp_path / "run", resume="auto"), World())
    assert summary["training_gain"] == summary_of(run)["training_gain"]
    assert summary["chosen"] == summary_of(run)["chosen"]
    first, second = (read_info(find_checkpoint(place, "best")).files for place in (run, tmp_path / "run"))
    assert first == second
    assert load_run(tmp_path / "run", World()).interest_fingerprint == first["final.pt"]


def train_on_ranks(world: World, directory: str, run: str) -> dict:
    trainer_module.NOISE = 1e9
    summary = train(config_of(PreparedDataset(directory), Path(run)), world)
    return {name: summary[name] for name in ("test_ndcg@100", "validation_ndcg@100", "chosen", "training_gain")}


@pytest.mark.slow
def test_ranks_agree_with_one(dataset, run, tmp_path):
    summary = summary_of(run)
    for found in run_on_ranks(3, train_on_ranks, str(dataset.directory), str(tmp_path / "run")):
        assert found["chosen"] == summary["chosen"]
        for name in ("test_ndcg@100", "validation_ndcg@100", "training_gain"):
            assert found[name] == pytest.approx(summary[name], abs=1e-4), name
