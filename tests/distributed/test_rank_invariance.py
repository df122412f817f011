"""N ranks compute the same as one rank: gradients, parameters, user rows, losses, embeddings."""

from __future__ import annotations

import itertools

import pytest
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import with_random_features, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.steps import batches_of

# Three fixtures train every scenario: one worker runs them all.
pytestmark = [pytest.mark.xdist_group("rank invariance"), pytest.mark.slow]

STEPS = 3
ARCHITECTURES = ("gcn", "sage", "gat")
BASE = {"layers": 2, "dropout": 0.2}
VARIANTS = {
    "gcn": {"self_loops": True},
    "sage": {},
    "gat": {},
    "gcn without self loops, one layer, MLP head": {"architecture": "gcn", "layers": 1, "head": "mlp"},
    "sage without user ids and features": {"architecture": "sage", "user_ids": False, "features": False},
    "gat with averaged heads, without movie ids and genres": {
        "architecture": "gat",
        "concat": False,
        "movie_ids": False,
        "genres": False,
    },
    # Ranks whose float64 sums differ in the last places round them to the same bfloat16.
    "sage with message tables in bfloat16": {"architecture": "sage", "message_tables": "bf16"},
    "matrix factorization": {"layers": 0},
}
SCENARIOS = {
    f"{variant}, {loader}, {optimizer}, {str(dtype).removeprefix('torch.')}": (variant, loader, optimizer, dtype)
    for variant, loader, optimizer, dtype in itertools.product(
        VARIANTS, ("full", "sampled"), ("adam", "sgd"), (torch.float64, torch.float32)
    )
    if variant in ARCHITECTURES or (optimizer == "sgd" and dtype == torch.float64)
}


def train_steps(world: World, data: str) -> dict[str, dict[str, torch.Tensor]]:
    """Three steps of every scenario: scenario -> name -> tensor; user rows are this rank's."""
    results = {}
    for name, (variant, loader, optimizer, dtype) in SCENARIOS.items():
        torch.set_default_dtype(dtype)
        config = make_config(
            model=BASE | ({"architecture": variant} if variant in ARCHITECTURES else {}) | VARIANTS[variant],
            loader=SAMPLED if loader == "sampled" else {},
            # Adam divides a gradient by its size: epsilon is far above the rounding of sums in float32.
            optimizer={"name": optimizer, "lr": 0.01, "eps": 1e-3},
        )
        trainer = RatingTrainer(config, PreparedDataset(data), world)
        perturb(trainer)
        results[name] = three_steps(trainer)
        torch.set_default_dtype(torch.float32)
    return results


@torch.no_grad()
def perturb(trainer: RatingTrainer) -> None:
    """Moves every parameter off its start: second layers start at zero, which would hide errors in them."""
    for name, parameter in trainer.replicated.named_parameters():
        generator = torch.Generator().manual_seed(len(name))
        noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 0.5
        parameter.add_(0.4 * noise.to(parameter))


def three_steps(trainer: RatingTrainer) -> dict[str, torch.Tensor]:
    tensors = {}
    world = trainer.world
    for number, (step, batch) in enumerate(itertools.islice(batches_of(trainer, 0), STEPS)):
        tensors[f"{number} loss"] = world.all_reduce_sum_(trainer.forward_backward(step, batch)) / batch.targets.count
        for name, parameter in trainer.replicated.named_parameters():
            if parameter.requires_grad:
                tensors[f"{number} gradient {name}"] = parameter.grad.clone()
        for name, parameter in trainer.users.named_parameters():
            tensors[f"{number} user gradient {name}"] = parameter.grad.clone()
        trainer.update(0.01)
    for name, parameter in trainer.replicated.named_parameters():
        tensors[f"parameter {name}"] = parameter.detach().clone()
    for name, parameter in trainer.users.named_parameters():
        tensors[f"user row {name}"] = parameter.detach().clone()
    embeddings = trainer.embed()
    tensors["embedding movie"], tensors["embedding movie bias"] = embeddings.movie, embeddings.movie_bias
    tensors["user embedding"], tensors["user embedding bias"] = embeddings.user, embeddings.user_bias
    return tensors


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(with_random_features(write_dataset(tmp_path_factory.mktemp("invariance"))).directory)


@pytest.fixture(scope="module")
def one_rank(data):
    return run_on_ranks(1, train_steps, data)[0]


@pytest.fixture(scope="module", params=[2, 3, 4])
def many_ranks(request, data):
    return run_on_ranks(request.param, train_steps, data)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ranks_agree_with_one(one_rank, many_ranks, scenario):
    expected = one_rank[scenario]
    tolerance = 1e-10 if scenario.endswith("float64") else 1e-5
    assert any(name.startswith("user row") for name in expected)
    for name, value in expected.items():
        parts = [rank[scenario][name] for rank in many_ranks]
        if "user" in name.split()[:2]:
            parts = [torch.cat(parts)]
        for part in parts:
            torch.testing.assert_close(
                part, value, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
            )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_parameter_has_a_nonzero_gradient(one_rank, architecture):
    gradients = {
        name: value for name, value in one_rank[f"{architecture}, full, sgd, float64"].items() if name.startswith("0 ")
    }
    assert len(gradients) > 20
    for name, value in gradients.items():
        assert value.abs().max() > 1e-9, name
