"""Item AutoRec against a dense autoencoder with torch's autograd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.baselines.autorec import AutoRec, AutoRecSetting, fit_autorec
from gnnrec.baselines.means import fit_biases
from gnnrec.data.prepared import TEST, TRAIN, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.rank_graph import build_rank_graph
from gnnrec.graph.statistics import message_statistics
from tests.baselines.data import standardized_triples
from tests.distributed.ranks import run_on_ranks

QUICK = {"hidden": 6, "l2": 2.0, "centre": "biases", "lr": 0.01, "epochs": 2}
CHOSEN = torch.arange(0, 29, 2)


def model_on(world: World, dataset: PreparedDataset, centre: str = "biases") -> AutoRec:
    setting = AutoRecSetting(hidden=6, l2=2.0, centre=centre, lr=0.01)
    model = AutoRec(build_rank_graph(dataset, world, dtype=torch.float64), setting, 3)
    model.tables[2] += 0.1
    return model


def dense(model: AutoRec, dataset: PreparedDataset, tables) -> tuple[torch.Tensor, ...]:
    """Offsets, centered ratings, a mask of ratings, and the output, all float ``[movies, users]``."""
    user, movie, rating = standardized_triples(dataset, TRAIN)
    offset = torch.full((dataset.num_movies, dataset.num_users), rating.mean(), dtype=torch.float64)
    if model.setting.centre == "biases":
        biases = message_statistics(model.graph)
        offset = offset + biases.movie_bias[:, None] + biases.user_bias
    ratings, rated = torch.zeros_like(offset), torch.zeros_like(offset)
    ratings[movie, user] = torch.from_numpy(rating) - offset[movie, user]
    rated[movie, user] = 1
    encoder, decoder, hidden_bias, bias = tables
    return offset, ratings, rated, torch.sigmoid(ratings @ encoder + hidden_bias) @ decoder.T + bias


@pytest.mark.parametrize("centre", ["mean", "biases"])
def test_predictions_equal_dense(small, centre):
    model = model_on(World(), small, centre)
    targets = held_out(small, model.graph.part, TEST, World(), torch.float64)
    user, movie, _ = standardized_triples(small, TEST)
    offset, _, _, output = dense(model, small, model.tables)
    torch.testing.assert_close(model.predictor()(targets), (offset + output)[movie, user], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("centre", ["mean", "biases"])
def test_one_gradient_equals_dense(small, centre):
    model = model_on(World(), small, centre)
    tables = [table.clone().requires_grad_() for table in model.tables]
    _, ratings, rated, output = dense(model, small, tables)
    error = ((output - ratings) * rated)[CHOSEN]
    penalty = 2.0 * (tables[0].square().sum() + tables[1].square().sum()) / rated.sum()
    loss = (error.square().sum() / rated[CHOSEN].sum() + penalty) / 2
    for gradient, expected in zip(model.gradients(CHOSEN), torch.autograd.grad(loss, tables)):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def fits(world: World, directory: str):
    dataset = PreparedDataset(Path(directory))
    gradients = model_on(world, dataset).gradients(CHOSEN)
    return gradients, fit_autorec(dataset, world, (TRAIN,), 3, QUICK).metrics(TEST).rmse


@pytest.mark.slow
def test_three_ranks_fit_the_same_as_one(small):
    gradients, rmse = fits(World(), str(small.directory))
    results = run_on_ranks(3, fits, str(small.directory))
    for position, expected in enumerate(gradients):
        if position == 2:  # the bias of hidden units is on every rank
            for part, _ in results:
                torch.testing.assert_close(part[position], expected)
        else:
            torch.testing.assert_close(torch.cat([part[position] for part, _ in results]), expected)
    assert [score for _, score in results] == pytest.approx([rmse] * 3, rel=1e-4)


@pytest.mark.slow
def test_hidden_units_beat_biases_on_low_rank_ratings(low_rank):
    setting = {"hidden": 20, "l2": 1.0, "centre": "biases", "lr": 0.03}
    fitted = fit_autorec(low_rank, World(), (TRAIN,), 0, setting)
    assert 1 <= fitted.chosen["epochs"] <= 40
    assert fitted.metrics(TEST).rmse < 0.75 * fit_biases(low_rank, World(), (TRAIN,), 0, {}).metrics(TEST).rmse


def test_movies_without_training_ratings_have_finite_predictions(small):
    model = model_on(World(), small)
    predicted = model.predictor()(held_out(small, model.graph.part, TEST, World(), torch.float64))
    assert np.isfinite(predicted.numpy()).all()
