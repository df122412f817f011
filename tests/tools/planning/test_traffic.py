"""Predicted bytes of collectives against counts of real ranks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.tools.planning.dataset import job_of_dataset
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.traffic import bytes_a_step, collectives
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks

CASES = {
    "sage": ({"layers": 2}, {}),
    "gcn without times and genres": ({"architecture": "gcn", "time": False, "genres": False}, {}),
    "gat": ({"architecture": "gat", "layers": 2}, {}),
    "gat with averaged heads": ({"architecture": "gat", "concat": False, "heads": 3}, {}),
    "no layers": ({"layers": 0}, {}),
    "mlp without movie ids": ({"head": "mlp", "movie_ids": False}, {}),
    "sampled": ({"layers": 2}, SAMPLED),
    "sampled gat": ({"architecture": "gat"}, SAMPLED),
    "sampled without control variate": ({"architecture": "gat"}, SAMPLED | {"control_variate": False}),
}


def count(world: World, data: str, wire: str) -> dict[str, tuple[int, int]]:
    """Counts bytes and collectives of a second epoch, by case."""
    found = {}
    world.collective_stats.wire = torch.bfloat16 if wire == "bf16" else None
    for name, (model, loader) in CASES.items():
        trainer = RatingTrainer(make_config(data, model=model, loader=loader), PreparedDataset(data), world)
        list(run_epoch(trainer, 0))
        sent, entered = world.collective_stats.bytes, world.collective_stats.entered
        list(run_epoch(trainer, 1))
        found[name] = world.collective_stats.bytes - sent, world.collective_stats.entered - entered
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_dataset(tmp_path_factory.mktemp("traffic")).directory)


@pytest.fixture(scope="module", params=["float32", "bf16"])
def counted(request: pytest.FixtureRequest, data: str) -> tuple[str, list[dict[str, tuple[int, int]]]]:
    return request.param, run_on_ranks(2, count, data, request.param)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_bytes_and_calls_equal_those_of_a_real_run(name, data, counted):
    model, loader = CASES[name]
    config = make_config(data, model=model, loader=loader)
    wire, ranks = counted
    job = dataclasses.replace(job_of_dataset(data, config.model, config.loader, 2), wire=wire)
    for rank in ranks:
        sent, entered = rank[name]
        assert bytes_a_step(job) * job.steps == pytest.approx(sent, abs=1e-3)
        assert sum(part.calls for part in collectives(job)) * job.steps == pytest.approx(entered)


def test_one_rank_sends_nothing():
    assert bytes_a_step(TrainingJob(100, 50, 1000)) == 0


def test_bytes_do_not_depend_on_users_ratings_or_ranks():
    first, second = TrainingJob(100, 50, 4000, ranks=2), TrainingJob(10_000, 50, 90_000, ranks=64)
    assert bytes_a_step(first) == bytes_a_step(second) > 0
