"""No target reaches its own prediction, and the test would notice if it did."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.distributed.world import World
from gnnrec.graph.folds import Epoch
from gnnrec.graph.loader import RatingLoader
from gnnrec.models.control_variate import snapshot
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.steps import steps_of

ARCHITECTURES = ("gcn", "sage", "gat")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("leak"), users=61, movies=31, ratings=900)


def predictions(trainer: RatingTrainer, fold: int, exclude: bool, change: bool) -> torch.Tensor:
    """Predictions of a step for its targets, with their ratings changed or not.

    The trainer's parameters are the same in both cases: only the graph of the step differs.
    """
    config, graph = trainer.config, trainer.graph
    if change:
        rating, level = graph.rating.clone(), graph.level.clone()
        targets = trainer.epoch(0).fold == fold
        rating[targets] = 5.5 - rating[targets]
        level[targets] = 9 - level[targets]
        graph = dataclasses.replace(graph, rating=rating, level=level)
    # Sums by fold are made from the ratings of the epoch's own graph.
    epoch = Epoch(graph, config.seed, 0, config.loader.folds, config.loader.seed_users)
    loader = RatingLoader(graph, trainer.loader.neighbor_sampler, exclude=exclude)
    step = next(step for step in steps_of(epoch) if step.fold == fold)
    batch = loader.batch(epoch, step)
    with torch.no_grad():
        stale_sums = None
        if trainer.control_variate:
            stale_sums = snapshot(trainer.replicated, trainer.users, loader.graph, loader.statistics(epoch, fold))
        embeddings = trainer.replicated.embed(batch, trainer.users.rows(batch.users), stale_sums=stale_sums)
        predicted = trainer.replicated.score(embeddings, batch.targets)
        timed = batch.targets.temporal_bias is not None
        return predicted + trainer.replicated.temporal_bias(batch.targets) if timed else predicted


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_targets_do_not_reach_their_predictions(dataset, architecture, sampled, layers):
    config = make_config(
        model={"architecture": architecture, "layers": layers, "self_loops": True}, loader=SAMPLED if sampled else {}
    )
    trainer = RatingTrainer(config, dataset, World())
    with torch.no_grad():
        for parameter in [*trainer.replicated.parameters(), *trainer.users.parameters()]:
            parameter.add_(torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)) - 0.5)
    before = predictions(trainer, fold=1, exclude=True, change=False)
    after = predictions(trainer, fold=1, exclude=True, change=True)
    assert before.numel() > 10
    assert torch.equal(before, after)
    leaking_before = predictions(trainer, fold=1, exclude=False, change=False)
    leaking_after = predictions(trainer, fold=1, exclude=False, change=True)
    assert (leaking_before - leaking_after).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sampled", [False, True])
def test_shuffled_ratings_cannot_be_predicted(dataset, architecture, sampled):
    """First epoch on randomly shuffled ratings, scored before each update: the loss is not below their variance."""
    losses, variance = {}, None
    for exclude in (True, False):
        config = make_config(
            model={"architecture": architecture, "layers": 2},
            loader={"folds": 10} | (SAMPLED | {"seed_users": 31} if sampled else {}),
            optimizer={"lr": 0.02, "warmup_steps": 0, "epochs": 20},
            regularization={"ids": 1.0, "messages": 1.0},
        )
        trainer = RatingTrainer(config, dataset, World(), exclude=exclude)
        shuffle_ratings(trainer)
        variance = trainer.graph.rating.var(unbiased=False).item()
        total = sum(result.loss.item() for result in run_epoch(trainer, 0))
        for epoch in range(1, 20 if not exclude else 1):
            total = sum(result.loss.item() for result in run_epoch(trainer, epoch))
        losses[exclude] = total / trainer.graph.num_edges
    assert losses[True] >= variance
    # The same model with its targets in its messages learns to read them.
    assert losses[False] < variance


def shuffle_ratings(trainer: RatingTrainer) -> None:
    """Permutes ratings over edges, in place, in every array made from them."""
    graph = trainer.graph
    order = torch.randperm(graph.num_edges, generator=torch.Generator().manual_seed(0))
    graph.rating.copy_(graph.rating[order])
    graph.level.copy_(graph.level[order])
    graph.__dict__.pop("rating_by_movie", None)
