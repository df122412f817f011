"""The loader is a PyG ``NeighborLoader``, and its batches stay on the device of the graph."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch_geometric.loader import NeighborLoader
from torch_geometric.sampler import NodeSamplerInput

from gnnrec.distributed.world import World
from gnnrec.graph.batch import Batch
from gnnrec.graph.loader import RatingLoader, SeedUsers
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.sampler import USER
from gnnrec.kernels import dispatch
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.pretend_gpu.cases import CASES, STEPS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("loader"))


@pytest.fixture(scope="module")
def loader(dataset) -> RatingLoader:
    """A loader that has made a batch, so that a pass and the draws of a step are set."""
    trainer = RatingTrainer(make_config(loader=SAMPLED), dataset, World())
    trainer.make_batch(0, 0)
    return trainer.loader


def assert_same(actual: Batch, expected: Batch) -> None:
    assert torch.equal(actual.users, expected.users)
    for name in ("to_users", "to_movies"):
        ours, theirs = getattr(actual, name).lists, getattr(expected, name).lists
        assert torch.equal(ours.pointer, theirs.pointer) and torch.equal(ours.entry, theirs.entry)
        assert torch.equal(ours.factor, theirs.factor)


def test_iterating_gives_what_calling_gives(loader):
    assert isinstance(loader, NeighborLoader)
    batches = list(loader)
    assert len(batches) == len(loader) == loader.graph.num_users
    for user, batch in enumerate(batches):
        assert isinstance(batch, Batch) and batch.users[0] == user
        assert_same(batch, loader(torch.tensor([user])))


def test_seeds_are_rows_as_a_tensor_or_a_list(loader):
    seeds = [30, 2, 17]
    batch = loader(torch.tensor(seeds))
    assert batch.users[:3].tolist() == seeds
    assert_same(loader(seeds), batch)
    assert_same(loader.collate_fn(seeds), batch)


def test_batches_join_what_the_sampler_draws(loader):
    seeds = torch.tensor([5, 8])
    # A sampler takes PyG's own input too.
    samples = [
        loader.neighbor_sampler.sample_from_nodes(kind) for kind in (NodeSamplerInput(None, seeds), SeedUsers(seeds))
    ]
    for sample in samples:
        assert_same(loader.filter_fn(sample), loader(seeds))


def messages_by_user(batch: Batch, name: str, graph: RankGraph) -> dict[int, list[tuple]]:
    """Movie, residual and level of the messages of each user, in the order of the lists."""
    messages, users = getattr(batch, name), graph.local_rows if batch.users is None else batch.users
    pointer, rows = messages.lists.pointer.tolist(), users.tolist()
    every = list(zip(*(part.tolist() for part in (messages.lists.entry, messages.lists.factor, messages.level))))
    lists = {user: every[begin:end] for user, begin, end in zip(rows, pointer, pointer[1:]) if begin < end}
    assert sum(map(len, lists.values())) == pointer[-1] > 0
    return lists


def targets_by_user(batch: Batch, graph: RankGraph) -> dict[int, tuple]:
    users, pointer = graph.local_rows if batch.users is None else batch.users, batch.targets.pointer.tolist()
    every = list(zip(batch.targets.movie.tolist(), batch.targets.rating.tolist()))
    assert pointer[-1] == len(every)
    return {user: every[begin:end] for user, begin, end in zip(users.tolist(), pointer, pointer[1:]) if begin < end}


#: One rater of each movie, or the raters of some movies, are fewer than all users.
@pytest.mark.parametrize(
    ("options", "whole"),
    [
        ({"raters_per_movie": 1, "movies_per_user": -1}, False),
        ({"raters_per_movie": 1000}, True),
        ({"raters_per_movie": 1, "movie_rows": "active"}, False),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
def test_batches_from_slots_are_those_from_draws(dataset, options, whole, layers):
    config = make_config(loader={**SAMPLED, "seed_users": 5, **options}, model={"layers": layers})
    expected, actual = (RatingTrainer(config, dataset, World()) for _ in range(2))
    assert not actual.loader.neighbor_sampler.slots
    actual.loader.neighbor_sampler.slots = True
    graph = actual.graph
    with dispatch.forced("reference"):
        for index in range(4):
            ours, theirs = actual.make_batch(0, index)[1], expected.make_batch(0, index)[1]
            assert targets_by_user(ours, graph) == targets_by_user(theirs, graph)
            for name in ("to_users", "to_movies"):
                assert messages_by_user(ours, name, graph) == messages_by_user(theirs, name, graph)
            assert torch.equal(ours.to_movies.total, theirs.to_movies.total)
            assert (ours.users is None) == whole


def test_loaders_of_whole_neighborhoods_are_neighbor_loaders_too(dataset):
    assert isinstance(RatingLoader(build_rank_graph(dataset, World()), None), NeighborLoader)


def test_seeds_stay_on_their_device():
    seeds = SeedUsers(torch.arange(4, device="meta"))
    assert isinstance(seeds, NodeSamplerInput) and seeds.input_type == USER
    for index in ([2, 0], torch.tensor([2, 0], device="meta")):
        selected = seeds[index]
        assert selected.node.device.type == selected.input_id.device.type == "meta" and selected.node.shape == (2,)


@pytest.fixture(scope="module")
def steps(dataset) -> dict:
    """Losses of sampled steps on the CPU and on the pretend GPU."""
    command = [sys.executable, "-m", "tests.pretend_gpu.sampled_steps", str(dataset.directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_pretend_gpu_detects_a_mix_of_devices(steps):
    assert "aten.add.Tensor got a tensor [3] on the CPU and another one on pretend:0" in steps["mixing"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_no_operator_of_a_step_mixes_devices(steps, case):
    assert isinstance(steps[case], dict), steps[case]
    # On devices, messages of a movie are in the order of time, so sums are rounded in another order.
    assert steps[case]["pretend"] == pytest.approx(steps[case]["cpu"], rel=1e-6)
    assert len(steps[case]["cpu"]) == STEPS + 3


@pytest.mark.slow
def test_the_sampler_of_pyg_on_the_host_gives_the_losses_of_the_built_in_one(steps):
    """With fan-outs above all degrees both take the same edges."""
    assert steps["PyG's sampler"]["pretend"] == pytest.approx(steps["whole neighborhoods"]["pretend"], rel=1e-5)
