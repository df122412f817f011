"""Cost of collectives: bytes against a count by hand, seconds against a rank that keeps the others waiting."""

from __future__ import annotations

import pytest
import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.fake_time import FakeTime, share_time

pytestmark = pytest.mark.xdist_group("ranks")  # see test_collectives.py

PAUSE = 0.25


def collect(world: World) -> list[tuple[float, int]]:
    """Seconds and bytes after each of three collectives."""
    fake_time, costs = FakeTime().install(), []
    share_time(fake_time)
    world.all_reduce_sum_(torch.zeros(10, 4))
    costs.append((world.collective_stats.seconds, world.collective_stats.bytes))
    world.barrier()
    before = world.collective_stats.seconds
    if world.rank == 1:
        fake_time.sleep(PAUSE)
    world.all_reduce_max_(torch.zeros(3, dtype=torch.float64))
    costs.append((world.collective_stats.seconds - before, world.collective_stats.bytes))
    world.use(world.reduce(torch.zeros(5, requires_grad=True))).sum().backward()
    costs.append((world.collective_stats.seconds, world.collective_stats.bytes))
    return costs


@pytest.mark.slow
def test_bytes_and_waiting_are_counted():
    first, second = run_on_ranks(2, collect)
    # The barrier is a sum of one number of 8 bytes; a reduction that is used goes both ways.
    assert [size for _, size in first] == [size for _, size in second] == [160, 160 + 8 + 24, 160 + 8 + 24 + 2 * 20]
    assert [seconds for seconds, _ in first] == [0, PAUSE, PAUSE] and {seconds for seconds, _ in second} == {0}


def step_bytes(world: World, data: str, architecture: str = "sage") -> tuple[int, int]:
    """Bytes of the forward and backward pass of one step, and the bytes per step in the partition report."""
    trainer = RatingTrainer(
        make_config(data, model={"layers": 2, "architecture": architecture}), PreparedDataset(data), world
    )
    step, batch = trainer.make_batch(0, 0)
    before = world.collective_stats.bytes
    trainer.forward_backward(step, batch)
    return world.collective_stats.bytes - before, trainer.bytes_a_step()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_a_step_reduces_the_bytes_of_the_partition_report(tmp_path, architecture):
    data = write_dataset(tmp_path / "data").directory
    for measured, reported in run_on_ranks(2, step_bytes, data, architecture):
        assert measured == reported


def test_one_rank_sends_nothing(tmp_path):
    data = write_dataset(tmp_path / "data").directory
    assert step_bytes(World(), data)[0] == 0
