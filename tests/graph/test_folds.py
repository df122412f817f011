"""Every training edge is a target exactly once per epoch; held-out edges are no targets and carry no messages."""

from __future__ import annotations

import pytest
import torch

from gnnrec.data.prepared import TEST, TRAIN, VALIDATION, PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.graph.folds import Epoch
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.steps import batches_of, steps_of

pytestmark = [pytest.mark.xdist_group("folds"), pytest.mark.slow]

#: Users, movies, ratings, folds, seed users per step: numbers without common divisors.
SIZES = [(37, 29, 431, 3, 11), (23, 41, 307, 7, 5), (101, 17, 613, 2, 13)]
RANKS = (1, 2, 3, 4, 5)


def edges_of_an_epoch(world: World, cases: list[tuple]) -> list[dict]:
    """Collects targets, messages, steps and seeds of one epoch for every case, and checks overlaps within steps."""
    actual = []
    for data, folds, loader, refit in cases:
        config = make_config(loader={"folds": folds} | loader, refit=refit, model={"layers": 2})
        trainer = RatingTrainer(config, PreparedDataset(data), world)
        graph, epoch = trainer.graph, trainer.epoch(1)
        targets, messages, steps, counts, seeds = [], set(), [], [], []
        for step, batch in batches_of(trainer, 1):
            edge = epoch.targets(step.fold, step.seeds)[1]
            targets.append(graph.edge_id[edge])
            users = batch.users if batch.users is not None else torch.arange(graph.num_users)
            passing = message_pairs(batch, users)
            supervised = target_pairs(batch, users)
            user = torch.repeat_interleave(torch.arange(graph.num_users), graph.user_degree)[edge]
            assert supervised == set(zip(user.tolist(), graph.movie[edge].tolist()))
            assert not passing & supervised, "a target carries a message in its own step"
            messages |= passing
            steps.append((step.index, step.fold))
            counts.append((step.num_targets, int(world.all_reduce_scalar(edge.numel()))))
            seeds.append((step.fold, graph.user_rows if step.seeds is None else graph.user_rows[step.seeds]))
        actual.append(
            {
                "targets": torch.cat(targets),
                "messages": messages,
                "steps": steps,
                "counts": counts,
                "seeds": seeds,
                "start": graph.part.start,
            }
        )
    return actual


def message_pairs(batch, users) -> set[tuple[int, int]]:
    """Returns (local user, movie) of every edge that carries a message in either direction."""
    actual = set()
    for messages in (batch.to_users, batch.to_movies):
        lists = messages.lists
        actual |= set(zip(users[lists.owner.long()].tolist(), lists.entry.tolist()))
    return actual


def target_pairs(batch, users) -> set[tuple[int, int]]:
    pointer = batch.targets.pointer
    user = torch.repeat_interleave(users, pointer.diff())
    return set(zip(user.tolist(), batch.targets.movie.tolist()))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    return [
        write_dataset(tmp_path_factory.mktemp("folds"), users, movies, ratings, seed=number)
        for number, (users, movies, ratings, _, _) in enumerate(SIZES)
    ]


@pytest.fixture(scope="module")
def cases(datasets):
    return [
        (str(dataset.directory), folds, SAMPLED | {"seed_users": seeds} if sampled else {}, refit)
        for dataset, (_, _, _, folds, seeds) in zip(datasets, SIZES)
        for sampled in (False, True)
        for refit in (False, True)
    ]


@pytest.fixture(scope="module", params=RANKS)
def epochs(request, cases):
    return run_on_ranks(request.param, edges_of_an_epoch, cases)


def test_every_training_edge_is_a_target_exactly_once_per_epoch(epochs, cases):
    for number, (data, _, _, refit) in enumerate(cases):
        split = torch.from_numpy(PreparedDataset(data).split[:].copy())
        allowed = (split == TRAIN) | ((split == VALIDATION) & refit)
        targets = torch.cat([rank[number]["targets"] for rank in epochs]).sort().values
        assert torch.equal(targets, allowed.nonzero().squeeze(1))


def test_held_out_edges_carry_no_messages(epochs, cases):
    for number, (data, _, _, refit) in enumerate(cases):
        dataset = PreparedDataset(data)
        split = {}
        for user in range(dataset.num_users):
            for edge in range(dataset.user_ptr[user], dataset.user_ptr[user + 1]):
                split[user, int(dataset.movie[edge])] = int(dataset.split[edge])
        allowed = {TRAIN, VALIDATION} if refit else {TRAIN}
        seen = {
            split[user + rank[number]["start"], movie] for rank in epochs for user, movie in rank[number]["messages"]
        }
        assert seen == allowed
        assert TEST not in seen


def test_ranks_take_the_same_steps_with_the_same_counts(epochs, cases):
    for number, (_, folds, loader, _) in enumerate(cases):
        first = epochs[0][number]
        assert len(first["steps"]) % folds == 0
        assert len(first["steps"]) > folds or not loader
        for rank in epochs:
            assert rank[number]["steps"] == first["steps"]
            assert all(said == counted for said, counted in rank[number]["counts"])


def test_every_user_is_a_seed_once_per_pass(epochs, cases):
    for number, (data, folds, _, _) in enumerate(cases):
        users = torch.arange(PreparedDataset(data).num_users)
        for fold in range(folds):
            seeds = [rows for rank in epochs for passed, rows in rank[number]["seeds"] if passed == fold]
            assert torch.equal(torch.cat(seeds).sort().values, users)


def test_folds_and_shuffles_change_with_the_epoch_and_the_seed(datasets):
    trainer = RatingTrainer(make_config(loader={"seed_users": 11}), datasets[0], World())
    first = trainer.epoch(0)
    for other in (trainer.epoch(1), Epoch(trainer.graph, 1, 0, 3, 11)):
        assert not torch.equal(first.fold, other.fold)
        assert [step.seeds.tolist() for step in steps_of(first)] != [step.seeds.tolist() for step in steps_of(other)]
    assert torch.equal(first.fold, trainer.epoch(0).fold)


def test_steps_can_start_in_the_middle(datasets):
    epoch = RatingTrainer(make_config(loader={"seed_users": 11}), datasets[0], World()).epoch(0)
    everything = steps_of(epoch)
    for start in (1, 4, len(everything) - 1):
        steps = steps_of(epoch, start)
        assert [step.index for step in steps] == list(range(start, len(everything)))
        assert all(torch.equal(a.seeds, b.seeds) for a, b in zip(steps, everything[start:]))


def test_slices_of_small_shards_have_equal_sizes(datasets):
    """Splits 37 shards of one user each into four steps."""
    epoch = RatingTrainer(make_config(loader={"seed_users": 10}), datasets[0], World()).epoch(0)
    assert epoch.graph.part.num_shards == datasets[0].num_users
    sizes = [step.seeds.numel() for step in steps_of(epoch)]
    assert max(sizes) - min(sizes) <= 1
