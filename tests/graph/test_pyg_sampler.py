"""PyG's own samplers give batches of the same kind, which the same code trains on."""

from __future__ import annotations

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.graph import pyg_sampler
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.steps import batches_of


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("pyg"))


needs_library = pytest.mark.skipif(pyg_sampler.sampling_library() is None, reason="needs pyg-lib or torch-sparse")


def trainer_of(dataset, architecture="sage", layers=2, **loader) -> RatingTrainer:
    config = make_config(
        model={"architecture": architecture, "layers": layers, "time": False, "message_dropout": 0.0},
        loader=SAMPLED | {"sampler": "pyg"} | loader,
    )
    return RatingTrainer(config, dataset, World())


def test_without_the_libraries_the_error_names_the_built_in_sampler(dataset, monkeypatch):
    monkeypatch.setattr(pyg_sampler, "sampling_library", lambda: None)
    with pytest.raises(UserError, match="--loader.sampler builtin"):
        trainer_of(dataset)


@needs_library
@pytest.mark.parametrize("layers", [1, 2])
def test_batches_hold_true_edges_within_the_fan_out(dataset, layers):
    trainer = trainer_of(dataset, layers=layers)
    graph, epoch = trainer.graph, trainer.epoch(0)
    rated = {
        (user, int(graph.movie[edge])): float(graph.rating[edge])
        for user in range(graph.num_users)
        for edge in range(graph.user_ptr[user], graph.user_ptr[user + 1])
    }
    expanded = 0
    for step, batch in batches_of(trainer, 0):
        assert torch.equal(batch.users[: step.seeds.numel()], step.seeds)
        statistics = trainer.loader.statistics(epoch, step.fold)
        for messages, flip in ((batch.to_users, False), (batch.to_movies, True)):
            lists = messages.lists
            user, movie = batch.users[lists.owner.long()], lists.entry
            if flip:
                assert torch.bincount(movie).max() <= SAMPLED["raters_per_movie"]
            else:
                assert lists.pointer.diff().max() <= SAMPLED["movies_per_user"]
            bias = statistics.user_bias[user] + statistics.movie_bias[movie.long()] + statistics.mean
            expected = torch.tensor([rated[pair] for pair in zip(user.tolist(), movie.tolist())])
            torch.testing.assert_close(lists.factor, expected - bias)
        pointer = batch.to_users.lists.pointer
        expanded += int(pointer[-1] - pointer[step.seeds.numel()])
    # The second hop draws movies for the raters too; the first does not.
    assert (expanded > 0) == (layers > 1)


@needs_library
def test_whole_neighborhoods_equal_the_built_in_sampler(dataset):
    """With fan-outs above all degrees, both samplers give the same loss and the same gradients."""
    losses, gradients = [], []
    for sampler in ("pyg", "builtin"):
        trainer = trainer_of(dataset, sampler=sampler, movies_per_user=10_000, raters_per_movie=10_000)
        step, batch = trainer.make_batch(0, 0)
        losses.append(trainer.forward_backward(step, batch))
        gradients.append([parameter.grad for parameter in trainer.replicated.parameters()])
    torch.testing.assert_close(losses[0], losses[1])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@needs_library
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_training_reduces_the_loss(dataset, architecture):
    trainer = trainer_of(dataset, architecture, raters_per_movie=8, movies_per_user=8)
    errors = [sum(result.loss.item() for result in run_epoch(trainer, epoch)) for epoch in range(2)]
    assert errors[1] < errors[0]
