"""Ranking on N ranks gives the same as on one rank: start, gradients, parameters, embeddings, metrics."""

from __future__ import annotations

import itertools

import pytest
import torch

from gnnrec.data.prepared import TEST, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.ranking.trainer import RankingTrainer
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.steps import batches_of

# Two fixtures train every scenario: one worker runs them all.
pytestmark = [pytest.mark.xdist_group("ranking invariance"), pytest.mark.slow]

STEPS = 4
SCENARIOS = {
    "closed form, squared": {"start": "closed_form", "loss": "squared", "l2": 3.0},
    "random, squared": {"start": "random", "loss": "squared"},
    "random, softmax": {"start": "random", "loss": "softmax"},
    "random, sampled softmax": {"start": "random", "loss": "sampled_softmax"},
    "closed form, bpr": {"start": "closed_form", "loss": "bpr", "l2": 3.0},
    "closed form, squared, weights by counts": {"start": "closed_form", "l2": 3.0, "count_confidence": 1.5},
    "random, softmax, weights by counts": {"start": "random", "loss": "softmax", "count_confidence": 1.5},
}


def train_steps(world: World, data: str) -> dict[str, dict[str, torch.Tensor]]:
    """A few steps of every scenario: scenario -> name -> tensor; user vectors are this rank's."""
    torch.set_default_dtype(torch.float64)
    tensors = {}
    for name, options in SCENARIOS.items():
        config = make_config(
            objective="ranking",
            ranking={"dim": 6, "users_a_step": 20} | options,
            # Adam divides a gradient by its size: epsilon is far above the rounding of sums.
            optimizer={"lr": 0.01, "eps": 1e-3},
        )
        trainer = RankingTrainer(config, PreparedDataset(data), world)
        tensors[name] = {"start": trainer.replicated.message_embedding.detach().clone()} | some_steps(trainer)
    torch.set_default_dtype(torch.float32)
    return tensors


def some_steps(trainer: RankingTrainer) -> dict[str, torch.Tensor]:
    tensors, world = {}, trainer.world
    batches = (batch for epoch in range(2) for batch in batches_of(trainer, epoch))
    for number, (step, batch) in enumerate(itertools.islice(batches, STEPS)):
        tensors[f"{number} loss"] = world.all_reduce_sum_(trainer.forward_backward(step, batch).clone())
        for name, parameter in trainer.replicated.named_parameters():
            if parameter.requires_grad:
                tensors[f"{number} gradient {name}"] = parameter.grad.clone()
        trainer.update(0.01)
    for name, parameter in trainer.replicated.named_parameters():
        tensors[f"parameter {name}"] = parameter.detach().clone()
    for split in (VALIDATION, TEST):
        tensors[f"metrics {split}"] = torch.tensor(list(trainer.evaluate(split).figures().values()))
    tensors["chosen"] = torch.tensor([trainer.validate().ndcg_at_100, float(trainer.replicated.popularity_exponent)])
    embeddings = trainer.embed()
    tensors["movie vectors"], tensors["user vectors"] = embeddings.movie, embeddings.user
    return tensors


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("invariance")
    options = {"protocol": "strong", "test": 0.2, "validation": 0.2, "relevant": 3.5, "least_relevant": 3}
    return str(write_dataset(directory, 70, 25, 900, shards=9, **options).directory)


@pytest.fixture(scope="module")
def one_rank(data):
    return run_on_ranks(1, train_steps, data)[0]


@pytest.fixture(scope="module", params=[2, 3])
def many_ranks(request, data):
    return run_on_ranks(request.param, train_steps, data)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_with_one(one_rank, many_ranks, scenario):
    for name, value in one_rank[scenario].items():
        parts = [rank[scenario][name] for rank in many_ranks]
        if name == "user vectors":
            parts = [torch.cat(parts)]
        for part in parts:
            torch.testing.assert_close(part, value, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_hold_the_same_bits(many_ranks, scenario):
    for name in (
        "start",
        "parameter message_embedding",
        "parameter target",
        "parameter popularity_exponent",
        "parameter popularity",
    ):
        for rank in many_ranks[1:]:
            assert torch.equal(rank[scenario][name], many_ranks[0][scenario][name]), name


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gradients_are_nonzero(one_rank, scenario):
    for name in ("message_embedding", "target"):
        assert one_rank[scenario][f"0 gradient {name}"].abs().max() > 1e-4
