"""The shrinkage towards biases, against least squares by NumPy, in training and in the exported files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import TEST
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.load import load_run
from gnnrec.models.options import LEAST_SHRINKAGE
from gnnrec.training.run import train
from gnnrec.training.shrinkage import choose_shrinkage
from tests.configs import make_config
from tests.datasets import write_sparse_dataset
from tests.distributed.ranks import run_on_ranks
from tests.inference.exports import exported, table_of


def noisy(share: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions whose deviation from the biases is right in ``share`` and noise in the rest, biases, and ratings."""
    rng = np.random.default_rng(0)
    biases, signal, noise, left = rng.normal(size=(4, count))
    rating = biases + share * signal + left
    return tuple(torch.from_numpy(values) for values in (biases + signal + (1 - share) * noise, biases, rating))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_it_is_that_of_least_squares(share):
    predicted, biases, rating = noisy(share)
    expected = np.linalg.lstsq((predicted - biases)[:, None].numpy(), (rating - biases).numpy(), rcond=None)[0][0]
    assert 0.05 < expected < 0.6
    assert choose_shrinkage(predicted, biases, rating, World()) == pytest.approx(expected, abs=6e-4)


def test_it_stays_1_where_the_gain_is_within_a_standard_error():
    shrunk = []
    for share in (0.5, 0.8, 0.9, 1.0):
        for count in (20, 60, 4000):
            predicted, biases, rating = (values[:count] for values in noisy(share))
            rest, left = (predicted - biases).numpy(), (rating - biases).numpy()
            best = np.clip(rest @ left / (rest @ rest), LEAST_SHRINKAGE, 1)
            gain = (left - rest) ** 2 - (left - best * rest) ** 2
            shrunk.append(gain.mean() > gain.std(ddof=1) / np.sqrt(count))
            assert (choose_shrinkage(predicted, biases, rating, World()) != 1) == shrunk[-1]
    assert 2 < sum(shrunk) < len(shrunk) - 2
    nothing = torch.zeros(0)
    assert choose_shrinkage(nothing, nothing, nothing, World()) == 1


def test_predictions_worse_than_biases_get_the_least_shrinkage():
    predicted, biases, rating = noisy(0.0)
    worse = biases - (rating - biases) + (predicted - biases)
    assert choose_shrinkage(worse, biases, rating, World()) == LEAST_SHRINKAGE


def on_rank(world: World) -> float:
    mine = [slice(0, 700), slice(700, 700), slice(700, None)][world.rank]
    return choose_shrinkage(*(values[mine] for values in noisy(0.4)), world)


@pytest.mark.slow
def test_ranks_agree():
    assert run_on_ranks(3, on_rank) == [choose_shrinkage(*noisy(0.4), World())] * 3


def noise_config(data: Path, run_dir: Path, head: str = "dot", model: dict | None = None, **options) -> TrainConfig:
    """A model without L2 and dropout fits the noise of few ratings."""
    return make_config(
        data,
        run_dir,
        model={"dropout": 0.0, "message_dropout": 0.0, "head": head, "head_dim": 8} | (model or {}),
        regularization={"ids": 0.0, "messages": 0.0, "biases": 0.0},
        optimizer={"epochs": 4, "lr": 0.03},
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("head", ["dot", "mlp"])
def test_on_sparse_ratings_the_model_is_no_worse_than_its_biases_and_is_exported_so(tmp_path, head):
    dataset = write_sparse_dataset(tmp_path)
    summary = train(noise_config(dataset.directory, tmp_path / "run", head, baselines=True), World())
    assert 0 <= summary["chosen"]["shrinkage"] < 0.9
    assert summary["test_rmse"] < 1.005 * summary["baselines"]["biases"]["test_rmse"]
    exported(tmp_path / "run", tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    _, users, user_bias = table_of(tmp_path / "out", "user")
    _, movies, movie_bias = table_of(tmp_path / "out", "movie")
    test = np.array(dataset.split) == TEST
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_ptr))[test]
    movie = np.array(dataset.movie)[test]
    part = (users[user].astype(np.float64) * movies[movie]).sum(1)
    if head == "mlp":
        weights = np.load(tmp_path / "out" / "head.npz")
        hidden = (
            users[user] @ weights["user.weight"].T + weights["user.bias"] + movies[movie] @ weights["movie.weight"].T
        )
        part = np.maximum(hidden, 0) @ weights["out.weight"][0]
    predicted = (manifest["offset"] + user_bias[user] + movie_bias[movie] + part).clip(*manifest["rating_scale"])
    rmse = np.sqrt(np.mean((predicted - np.array(dataset.rating, np.float64)[test]) ** 2))
    assert rmse == pytest.approx(summary["test_rmse_without_time"], rel=1e-5)
    assert load_run(tmp_path / "run", World()).model.shrinkage.item() == pytest.approx(summary["chosen"]["shrinkage"])


@pytest.mark.slow
def test_a_refit_takes_the_shrinkage_of_the_measured_run(tmp_path):
    dataset = write_sparse_dataset(tmp_path)
    measured = train(noise_config(dataset.directory, tmp_path / "measured"), World())
    chosen = measured["chosen"]["shrinkage"]
    errors = {}
    for given in (None, chosen):
        place = tmp_path / f"refit-{given}"
        summary = train(noise_config(dataset.directory, place, model={"shrinkage": given}, refit=True), World())
        assert summary["chosen"]["shrinkage"] == pytest.approx(given or 1)
        assert load_run(place, World()).model.shrinkage.item() == pytest.approx(given or 1)
        errors[given] = summary["test_rmse"]
    assert errors[chosen] < 0.97 * errors[None]


@pytest.mark.slow
def test_a_given_shrinkage_is_that_of_validation_and_of_the_best_checkpoint(tmp_path):
    dataset = write_sparse_dataset(tmp_path)
    chosen = train(noise_config(dataset.directory, tmp_path / "a"), World())
    given = {"shrinkage": chosen["chosen"]["shrinkage"]}
    again = train(noise_config(dataset.directory, tmp_path / "b", model=given), World())
    assert again["chosen"] == chosen["chosen"]
    values = {}
    for name in "ab":
        records = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for key in ("validation_rmse", "loss"):
            values[name, key] = [record[key] for record in records if key in record]
        assert len(values[name, "validation_rmse"]) == 4
    best = chosen["best_epoch"] - 1
    ours, theirs = (values[name, "validation_rmse"][best] for name in "ab")
    assert ours == pytest.approx(theirs, rel=1e-5)
    # A shrinkage that is given all along leaves training itself as it is.
    assert values["a", "loss"] == values["b", "loss"]


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan")])
def test_a_shrinkage_outside_of_its_bounds_is_refused(value):
    with pytest.raises(UserError, match=r"^--model.shrinkage .*: must be from 0.01 to 1"):
        make_config(model={"shrinkage": value})
