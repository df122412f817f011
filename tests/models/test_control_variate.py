"""Sums with a control variate are exact at the snapshot's parameters, unbiased at others, and less noisy."""

from __future__ import annotations

import pytest
import torch

from gnnrec.distributed.world import World
from gnnrec.graph.batch import whole_graph
from gnnrec.models.control_variate import snapshot
from gnnrec.models.conv import MessageInputs
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import write_dataset
from tests.steps import batches_of, steps_of


@pytest.fixture(autouse=True, scope="module")
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("stale_sums"), users=61, movies=31, ratings=900)


def trainer_of(dataset, architecture, layers=1, seed=0, **loader) -> RatingTrainer:
    config = make_config(
        model={"architecture": architecture, "layers": layers, "self_loops": True, "dropout": 0.0},
        loader=SAMPLED | loader,
        seed=seed,
    )
    return RatingTrainer(config, dataset, World())


def shake(trainer: RatingTrainer, size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in [*trainer.replicated.parameters(), *trainer.users.parameters()]:
            parameter.add_((torch.rand(parameter.shape, generator=generator) - 0.5) * size)


def sampled(trainer, epoch, step, stale_sums):
    batch = trainer.loader.batch(epoch, step)
    with torch.no_grad():
        return batch, trainer.replicated.embed(batch, trainer.users.rows(batch.users), stale_sums=stale_sums)


def exact(trainer, epoch, step):
    with torch.no_grad():
        statistics = trainer.loader.statistics(epoch, step.fold)
        return trainer.replicated.embed(whole_graph(trainer.graph, statistics), trainer.users.rows())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_at_the_snapshot_parameters_a_sample_gives_whole_sums(dataset, architecture, layers):
    trainer = trainer_of(dataset, architecture, layers)
    shake(trainer, 1.0, 1)
    epoch = trainer.epoch(0)
    for step in steps_of(epoch)[:8]:
        stale_sums = snapshot(
            trainer.replicated, trainer.users, trainer.graph, trainer.loader.statistics(epoch, step.fold)
        )
        batch, actual = sampled(trainer, epoch, step, stale_sums)
        expected = exact(trainer, epoch, step)
        seeds = step.seeds
        torch.testing.assert_close(actual.user[: seeds.numel()], expected.user[seeds], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(actual.movie, expected.movie, rtol=1e-10, atol=1e-10)
        assert (batch.to_users.lists.pointer.diff() < trainer.graph.user_degree[batch.users]).any()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gcn", "sage"])
def test_after_a_change_the_mean_over_draws_is_the_whole_sum(dataset, architecture):
    trainer = trainer_of(dataset, architecture)
    shake(trainer, 1.0, 1)
    epoch = trainer.epoch(0)
    step = epoch.step(0)
    statistics = trainer.loader.statistics(epoch, step.fold)
    stale_sums = snapshot(trainer.replicated, trainer.users, trainer.graph, statistics)
    shake(trainer, 0.2, 2)
    conv, rows = trainer.replicated.encoder.layers[0].to_movies, trainer.users.rows()
    whole = whole_graph(trainer.graph, statistics).to_movies

    def sums(messages, users, stale):
        inputs = MessageInputs(rows["message_embedding"], rows["residual_embedding"])
        inputs = conv.transform(inputs if users is None else inputs.rows(users))
        partial = conv.partial(inputs, trainer.replicated.movie_rows()["message_embedding"], messages, None)
        return partial if stale is None else stale.corrected(partial - stale.sampled_sums(messages))

    with torch.no_grad():
        target = sums(whole, None, None).numerator
        with_stale, without = [], []
        for draw in range(400):
            trainer.loader.neighbor_sampler.set_step(draw, 0)
            batch = trainer.loader(step.seeds)
            stale = stale_sums[0].for_users(batch.users).to_movies
            with_stale.append(sums(batch.to_movies, batch.users, stale).numerator)
            without.append(sums(batch.to_movies, batch.users, None).numerator)
    error, plain = ((torch.stack(draws) - target) for draws in (with_stale, without))
    noise = error.std(0) / len(with_stale) ** 0.5
    assert (error.mean(0).abs() <= 5 * noise + 1e-10).all()
    assert error.square().mean() < 0.2 * plain.square().mean()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gcn", "sage", "gat"])
def test_a_control_variate_reduces_the_sampling_error_in_training(dataset, architecture):
    def errors(**loader):
        trainer = trainer_of(dataset, architecture, **loader)
        apart = []
        for number in range(2):
            for step, _ in batches_of(trainer, number):
                stale_sums = trainer.stale_sums(step)
                _, actual = sampled(trainer, trainer.epoch(number), step, stale_sums)
                expected = exact(trainer, trainer.epoch(number), step)
                apart.append((actual.movie - expected.movie).square().mean())
                trainer.forward_backward(step, trainer.loader.batch(trainer.epoch(number), step))
                trainer.update(0.01)
        return torch.stack(apart).mean().sqrt()

    assert errors() < 0.6 * errors(control_variate=False)


def test_gradients_flow_through_sampled_messages_alone(dataset):
    trainer = trainer_of(dataset, "sage")
    step = trainer.epoch(0).step(0)
    batch = trainer.loader.batch(trainer.epoch(0), step)
    trainer.forward_backward(step, batch)
    drawn = torch.zeros(dataset.num_users, dtype=torch.bool)
    drawn[batch.users] = True
    regularized = trainer.users.message_embedding.grad / trainer.users.message_embedding
    assert not torch.isnan(regularized).any()
    # Rows outside the batch have the gradient of L2 alone, which is the row times a constant.
    assert torch.allclose(regularized[~drawn].std(1), torch.zeros(1), atol=1e-12)
    assert (regularized[drawn].std(1) > 1e-12).any()


def test_all_users_as_seeds_are_not_indexed(tmp_path):
    """The batch has ``users`` None, and gradients equal those of the same batch with every user indexed."""
    dataset = write_dataset(tmp_path)
    loader = {"seed_users": 0, "movies_per_user": 4, "raters_per_movie": 3}
    actual = []
    for users in (None, torch.arange(dataset.num_users)):
        trainer = RatingTrainer(make_config(model={"layers": 2}, loader=loader), dataset, World())
        step, batch = trainer.make_batch(0, 0)
        assert batch.users is None and torch.equal(batch.user_rows, trainer.graph.user_rows)
        batch.users = users
        trainer.forward_backward(step, batch)
        parameters = [*trainer.replicated.parameters(), *trainer.users.parameters()]
        actual.append([parameter.grad for parameter in parameters])
    for left, right in zip(*actual):
        torch.testing.assert_close(left, right)
