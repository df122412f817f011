"""SVD++ against a dense computation with torch's autograd."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gnnrec.baselines import svdpp
from gnnrec.baselines.means import fit_biases
from gnnrec.baselines.svdpp import SVDpp, SVDppSetting, fit_svdpp
from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.evaluation.rating import held_out
from gnnrec.graph.folds import Epoch
from gnnrec.graph.rank_graph import build_rank_graph
from tests.baselines.data import standardized_triples
from tests.distributed.ranks import run_on_ranks

SETTING = SVDppSetting(dim=5, l2=3.0, degree_power=0.25, implicit_l2=4.0)
QUICK = dataclasses.asdict(SETTING) | {"epochs": 2}


def model_on(world: World, dataset: PreparedDataset, implicit_l2: float | None = 4.0) -> SVDpp:
    setting = dataclasses.replace(SETTING, implicit_l2=implicit_l2)
    return SVDpp(build_rank_graph(dataset, world, dtype=torch.float64), setting, 3)


def first_step(model: SVDpp):
    epoch = Epoch(model.graph, model.seed, 0, svdpp.STEPS)
    return model.targets(epoch, epoch.step(0))


def dense_ratings(model: SVDpp, dataset: PreparedDataset, tables) -> torch.Tensor:
    """Predictions for all users and movies, by the formula of the paper."""
    user, movie, rating = standardized_triples(dataset, TRAIN)
    rated = torch.zeros(dataset.num_users, dataset.num_movies, dtype=torch.float64)
    rated[user, movie] = 1
    p, q, user_bias, movie_bias, *implicit_table = tables
    y = implicit_table[0] if implicit_table else torch.zeros_like(q)
    implicit = torch.stack([row @ y / max(row.sum().item(), 1) ** 0.5 for row in rated])
    return rating.mean() + user_bias[:, None] + movie_bias + (p + implicit) @ q.T


@pytest.mark.parametrize("implicit_l2", [4.0, None])
def test_predictions_equal_dense(small, implicit_l2):
    model = model_on(World(), small, implicit_l2)
    targets = held_out(small, model.graph.part, TEST, World(), torch.float64)
    user, movie, _ = standardized_triples(small, TEST)
    with torch.no_grad():
        expected = dense_ratings(model, small, model.tables)[user, movie]
    torch.testing.assert_close(model.predict(targets), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("implicit_l2", [4.0, None])
def test_one_gradient_equals_dense(small, implicit_l2):
    model = model_on(World(), small, implicit_l2)
    targets = first_step(model)
    assert 0 < targets.count < model.graph.num_edges
    tables = [table.detach().clone().requires_grad_() for table in model.tables]
    owner = torch.repeat_interleave(torch.arange(small.num_users), targets.pointer.diff())
    error = dense_ratings(model, small, tables)[owner, targets.movie.long()] - targets.rating
    user, movie, rating = standardized_triples(small, TRAIN)
    per_user = torch.bincount(torch.from_numpy(user), minlength=small.num_users).clamp(min=1).double()
    per_movie = torch.bincount(torch.from_numpy(movie).long(), minlength=small.num_movies).clamp(min=1).double()
    penalty = 3 * (tables[0].square().sum(1) * per_user**0.25).sum()
    penalty = penalty + 3 * (tables[1].square().sum(1) * per_movie**0.25).sum() + 5 * tables[2].square().sum()
    penalty = penalty + 5 * tables[3].square().sum() + 4 * sum(table.square().sum() for table in tables[4:])
    loss = (error.square().mean() + penalty / len(rating)) / 2
    for gradient, expected in zip(model.gradients(targets), torch.autograd.grad(loss, tables)):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def fits(world: World, directory: str):
    dataset = PreparedDataset(Path(directory))
    model = model_on(world, dataset)
    gradients = model.gradients(first_step(model))
    fitted = fit_svdpp(dataset, world, (TRAIN,), 3, QUICK)
    return gradients, fitted.metrics(TEST).rmse


@pytest.mark.slow
def test_three_ranks_fit_the_same_as_one(small):
    gradients, rmse = fits(World(), str(small.directory))
    results = run_on_ranks(3, fits, str(small.directory))
    for position, expected in enumerate(gradients):
        if position in (0, 2):  # a user is on one rank
            torch.testing.assert_close(torch.cat([part[position] for part, _ in results]), expected)
        else:
            for part, _ in results:
                torch.testing.assert_close(part[position], expected)
    assert [score for _, score in results] == pytest.approx([rmse] * 3, rel=1e-4)


@pytest.mark.slow
def test_factors_beat_biases_on_low_rank_ratings(low_rank):
    setting = {"dim": 8, "l2": 0.5, "degree_power": 0.5, "implicit_l2": 30.0}
    fitted = fit_svdpp(low_rank, World(), (TRAIN,), 0, setting)
    assert fitted.metrics(TEST).rmse < 0.6 * fit_biases(low_rank, World(), (TRAIN,), 0, {}).metrics(TEST).rmse


def test_a_refit_uses_the_given_epochs_and_learns_from_more_ratings(low_rank):
    first = fit_svdpp(low_rank, World(), (TRAIN,), 3, QUICK)
    refit = fit_svdpp(low_rank, World(), (TRAIN, VALIDATION), 3, QUICK)
    assert first.chosen == refit.chosen == {"epochs": 2}
    assert refit.metrics(VALIDATION).rmse < first.metrics(VALIDATION).rmse
