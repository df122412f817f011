"""A ranking run whose likes are weighted by counts: vectors, metrics and users of a file against dense sums."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gnnrec.data.prepare import PrepareOptions, prepare
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.inference.ratings_file import RatingsFile
from gnnrec.training.run import build_trainer, train
from tests.configs import make_config
from tests.datasets import ratings_table

ALPHA = 1.3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    """A log of 80 users with up to nine events of a pair."""
    place = tmp_path_factory.mktemp("plays")
    table = ratings_table(80, 30, 1100)
    table.loc[table.index.repeat((2 * table["rating"]).astype(int) - 1)].drop(columns="rating").to_csv(
        place / "log.csv", index=False
    )
    prepare(place / "data", PrepareOptions(ratings=place / "log.csv", implicit=True, validation=0.15, shards=4))
    return PreparedDataset(place / "data")


def config_for(dataset: PreparedDataset, name: str, alpha: float, **options):
    return make_config(
        dataset.directory,
        dataset.directory.parent / name,
        objective="ranking",
        ranking={"dim": 6, "users_a_step": 20, "count_confidence": alpha},
        optimizer={"epochs": 2, "lr": None, "warmup_steps": None},
        **options,
    )


@pytest.fixture(scope="module")
def run(dataset) -> Path:
    config = config_for(dataset, "run", ALPHA, baselines=True)
    train(config, World())
    return config.run_dir


def dense(dataset: PreparedDataset, splits: list[int]) -> np.ndarray:
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))
    chosen = np.isin(dataset.split, splits)
    table = np.zeros((dataset.num_users, dataset.num_movies))
    count = np.asarray(dataset.rating, np.float64)[chosen]
    table[user[chosen], np.asarray(dataset.movie)[chosen]] = 1 + ALPHA * np.log(1 + count)
    return table


@pytest.mark.slow
def test_users_are_weighted_sums_of_message_embeddings(run, dataset):
    loaded = load_run(run, World())
    model = loaded.model
    expected = dense(dataset, [TRAIN, VALIDATION]) @ model.message_embedding.detach().double().numpy()
    np.testing.assert_allclose(loaded.embed().user.numpy(), expected, rtol=1e-4, atol=1e-5)
    shown = loaded.held_out(TEST).shown
    np.testing.assert_allclose(model.user_vectors(shown).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_evaluation_repeats_the_summary_and_baselines_have_the_weights(run):
    loaded, summary = load_run(run, World()), json.loads((run / "summary.json").read_text())
    figures = loaded.evaluate(TEST, loaded.embed()).figures()
    assert {f"test_{name}" for name in figures} <= set(summary)
    for name, value in figures.items():
        assert value == pytest.approx(summary[f"test_{name}"], rel=1e-6)
    assert summary["baselines"]["EASE"]["count_confidence"] == ALPHA
    assert "count_confidence" not in summary["baselines"]["item kNN"]
    assert loaded.scoring()["count_confidence"] == ALPHA


@pytest.mark.slow
def test_new_users_with_the_events_of_a_known_one_have_its_vector(run, dataset, tmp_path):
    loaded = load_run(run, World())
    edges = slice(dataset.user_ptr[0], dataset.user_ptr[1])
    known = dataset.split[edges] != TEST
    movies = dataset.movies["movie"].to_numpy()[dataset.movie[edges][known]]
    events = np.repeat(movies, dataset.rating[edges][known].astype(int))
    assert len(events) > len(movies)
    pd.DataFrame({"userId": 1_000_000, "movieId": events}).to_csv(tmp_path / "new.csv", index=False)
    users = RatingsFile(tmp_path / "new.csv", {}).read(dataset)
    vectors = loaded.encoder(100).for_new_users(users).users(range(1)).vector
    torch.testing.assert_close(vectors[0], loaded.embed().user[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_strength_of_zero_changes_no_bit_and_another_one_does(dataset):
    plain, zero, some = (
        build_trainer(config_for(dataset, name, alpha), dataset, World())
        for name, alpha in (("a", 0.0), ("b", 0.0), ("c", ALPHA))
    )
    assert torch.equal(plain.replicated.target, zero.replicated.target)
    assert plain.training.liked.weight is None
    assert not torch.allclose(plain.replicated.target, some.replicated.target, atol=1e-4)
    step, batch = some.make_batch(0, 0)
    assert batch.value.min() >= 1 + ALPHA * np.log(2) - 1e-6
    assert (
        batch.message_weight[batch.message_weight > 0] / batch.value[batch.message_weight > 0]
    ).unique().numel() == 1


def test_the_strength_is_not_negative_and_needs_counts(tmp_path):
    with pytest.raises(UserError, match="--ranking.count-confidence -1"):
        make_config(objective="ranking", ranking={"count_confidence": -1.0})
    table = ratings_table(30, 20, 300)
    table.assign(rating=table["rating"] - 3).to_csv(tmp_path / "ratings.csv", index=False)
    prepare(tmp_path / "data", PrepareOptions(ratings=tmp_path / "ratings.csv", rating_scale="-3 2"))
    dataset = PreparedDataset(tmp_path / "data")
    with pytest.raises(UserError, match="takes ratings for counts, .* down to -3: leave the option out"):
        build_trainer(config_for(dataset, "run", 1.0), dataset, World())
