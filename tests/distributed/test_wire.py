"""Sums of messages and gradients that are exchanged in bfloat16: rounded, halved, and the same on every rank."""

from __future__ import annotations

import itertools

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.run import build_trainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

pytestmark = pytest.mark.slow

CASES = {
    "gcn": ({"architecture": "gcn"}, {}),
    "sage": ({"layers": 2}, {}),
    "gat": ({"architecture": "gat"}, {}),
    "sampled": ({}, SAMPLED),
    "active movies": ({}, SAMPLED | {"movies_per_user": 2, "seed_users": 5, "movie_rows": "active"}),
}


def sums(world: World) -> dict[str, torch.Tensor]:
    """Sums of random tables over ranks, with their gradients, in both types."""
    found = {}
    for wire in (None, torch.bfloat16):
        world.collective_stats.wire = wire
        table = torch.randn(50, 8, generator=torch.Generator().manual_seed(world.rank)).requires_grad_()
        total = world.reduce(table)
        (total.square().sum() / 2).backward()
        found |= {f"sum {wire}": total.detach(), f"gradient {wire}": table.grad}
        found[f"statistics {wire}"] = world.all_reduce_sum_(table.detach().clone())
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_sums_are_rounded_and_statistics_are_not(ranks):
    tables = [torch.randn(50, 8, generator=torch.Generator().manual_seed(rank)) for rank in range(ranks)]
    exact = torch.stack(tables).sum(0)
    scale = torch.stack(tables).abs().sum(0)
    for found in run_on_ranks(ranks, sums):
        torch.testing.assert_close(found["sum None"], exact)
        rounding = (found["sum torch.bfloat16"] - exact).abs()
        assert (rounding <= ranks * 2**-8 * scale).all() and rounding.max() > 0
        # The gradient of half the squared sum is the sum, over all ranks.
        torch.testing.assert_close(found["gradient None"], ranks * exact)
        assert ((found["gradient torch.bfloat16"] - ranks * exact).abs() <= 2 * ranks**2 * 2**-8 * scale).all()
        assert torch.equal(found["statistics None"], found["statistics torch.bfloat16"])


def train_steps(world: World, data: str) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    """Three steps of every case: case -> wire -> name -> tensor."""
    found: dict[str, dict[str, dict]] = {}
    for name, (model, loader) in CASES.items():
        for wire in ("float32", "bf16"):
            config = make_config(data, model=model, loader=loader, wire=wire, optimizer={"name": "sgd", "lr": 0.1})
            trainer = build_trainer(config, PreparedDataset(data), world)
            assert isinstance(trainer, RatingTrainer)
            world.collective_stats.bytes = 0
            losses = [result.loss for result in itertools.islice(run_epoch(trainer, 0), 3)]
            values = {key: value.detach().clone() for key, value in trainer.replicated.named_parameters()}
            statistics = trainer.loader.statistics(trainer.epoch(0), 0)
            found.setdefault(name, {})[wire] = values | {
                "loss": world.all_reduce_sum_(torch.stack(losses)),
                "bytes": torch.tensor(world.collective_stats.bytes),
                "biases": statistics.movie_bias,
            }
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(write_dataset(tmp_path_factory.mktemp("wire"), users=41, movies=300, ratings=900).directory)


@pytest.fixture(scope="module")
def trained(data):
    return {ranks: run_on_ranks(ranks, train_steps, data) for ranks in (1, 2, 3)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_agree_and_are_near_one_rank(trained, case, ranks):
    (one,) = trained[1]
    first = trained[ranks][0][case]["bf16"]
    for rank in trained[ranks]:
        exact, rounded = rank[case]["float32"], rank[case]["bf16"]
        assert rounded["bytes"] < exact["bytes"]  # by how much is in the test of the plan
        assert torch.equal(rounded["biases"], exact["biases"])
        moved = 0.0
        for name, value in rounded.items():
            if name == "bytes":
                continue
            assert torch.equal(value, first[name]), name  # replicas stay equal
            torch.testing.assert_close(
                value, one[case]["float32"][name], rtol=0.02, atol=2e-3, msg=lambda m, n=name: n + m
            )
            moved = max(moved, (value - exact[name]).abs().max().item())
        assert moved > 0


@pytest.mark.parametrize("case", CASES)
def test_one_rank_rounds_nothing(trained, case):
    (one,) = trained[1]
    for name, value in one[case]["float32"].items():
        assert torch.equal(one[case]["bf16"][name], value), name
