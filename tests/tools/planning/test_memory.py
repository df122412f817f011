"""Predicted memory against the tensors of a real trainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.tools.planning.dataset import job_of_dataset
from gnnrec.tools.planning.job import TrainingJob
from gnnrec.tools.planning.memory import (
    FLOAT,
    fold_bias_bytes,
    graph_bytes,
    memory_parts,
    pass_bytes,
    tables_bytes,
    total,
)
from gnnrec.tools.planning.network import network_of
from gnnrec.training.rating_trainer import RatingTrainer
from tests.configs import SAMPLED, make_config
from tests.datasets import with_features, write_dataset
from tests.steps import batches_of

CASES = [
    ({"layers": 2}, {}),
    ({"time": False, "message_dropout": 0.0, "user_ids": False}, {}),
    ({"architecture": "gat"}, SAMPLED),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    plain = write_dataset(tmp_path_factory.mktemp("memory"), users=300, movies=80, ratings=9000)
    x = {"user": np.eye(300)[:, :5], "movie": np.eye(80)[:, :3]}
    return with_features(plain, plain.directory.parent / "with features", **x)


@pytest.fixture(scope="module", params=CASES, ids=["sage", "inductive", "sampled gat"])
def pair(request, dataset) -> tuple[RatingTrainer, TrainingJob]:
    """A trainer after some steps, and its job."""
    model, loader = request.param
    config = make_config(dataset.directory, model=model, loader=loader)
    trainer = RatingTrainer(config, dataset, World())
    list(run_epoch(trainer, 0))
    return trainer, job_of_dataset(dataset.directory, config.model, config.loader, 1)


def size(*things: object) -> int:
    """Sums the bytes of all tensors in objects and their fields and cached attributes."""
    found = 0
    for thing in things:
        if isinstance(thing, Tensor):
            found += thing.numel() * thing.element_size()
        elif dataclasses.is_dataclass(thing):
            found += size(*(value for value in vars(thing).values() if _counted(value)))
    return found


def _counted(value: object) -> bool:
    return isinstance(value, Tensor) or type(value).__name__ in ("EdgeTimeBins", "Residuals")


def state_of(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    return (value for state in optimizer.state.values() for value in state.values() if value.dim())


@pytest.mark.slow
def test_tables_with_gradients_and_moments(pair):
    trainer, job = pair
    for module, optimizer, said in (
        (trainer.users, trainer.optimizers[1], tables_bytes(job.local_users, job.user_width)),
        (
            trainer.replicated,
            trainer.optimizers[0],
            tables_bytes(job.movies, job.table_width)
            + tables_bytes(job.feature_weights + network_of(job).weights, 1)
            + FLOAT * job.fitted_weights,
        ),
    ):
        parameters = list(module.parameters())
        found = size(*parameters, *(each.grad for each in parameters), *state_of(optimizer))
        # Scalars of the model and their state are not counted.
        assert said == pytest.approx(found, abs=4 * 2 * 3)
    assert (job.user_columns, job.movie_columns) == (trainer.users.x.shape[1], trainer.replicated.movies.x.shape[1])


def test_the_graph_with_folds(pair):
    trainer, job = pair
    graph, epoch = trainer.graph, trainer.epoch(1)
    folds = epoch.folds
    sums = [folds.user_count, folds.user_sum, folds.movie_count, folds.movie_sum]
    group = [trainer.loader._dropout[1].group] if job.model.message_dropout else []
    fields = [graph.user_ptr, graph.movie, graph.rating, graph.level, graph.edge_id, graph.time, graph.time_bins]
    degrees = [graph.movie_degree, graph.movie_start, graph.user_degree, graph.user_rows]
    found = size(*fields, *degrees, epoch.fold, *sums, *group)
    assert graph_bytes(job) == pytest.approx(found, abs=8)


@pytest.mark.slow
def test_messages_of_a_pass(pair):
    trainer, job = pair
    # Which messages are left out is drawn.
    assert pass_bytes(job) == pytest.approx(size(trainer.loader.current.edges), rel=0.03)


@pytest.mark.slow
def test_biases_of_a_group_of_folds(pair):
    trainer, job = pair
    biases = trainer._epoch.biases(0)
    # The mean of each fold is not counted.
    assert fold_bias_bytes(job) == pytest.approx(size(biases), abs=4 * len(biases.folds))


def test_sampled_batches_have_the_expected_users_and_messages(pair):
    trainer, job = pair
    batches = [batch for _, batch in batches_of(trainer, 1)]
    count = len(batches)
    assert job.steps == count
    users = sum(batch.user_rows.numel() for batch in batches) / count
    to_users = sum(batch.to_users.lists.entry.numel() for batch in batches) / count
    to_movies = sum(batch.to_movies.lists.entry.numel() for batch in batches) / count
    assert job.batch_users == pytest.approx(users, rel=0.05)
    assert job.step_messages == pytest.approx((to_users, to_movies), rel=0.05)
    assert job.targets == pytest.approx(sum(batch.targets.movie.numel() for batch in batches) / count)


def test_memory_grows_with_every_count():
    job = TrainingJob(1_000_000, 10_000, 10**8, ranks=4)

    def bytes_of(**values: int) -> float:
        return total(memory_parts(dataclasses.replace(job, **values), 0.0))

    here = bytes_of()
    assert all(bytes_of(**{name: 2 * getattr(job, name)}) > here for name in ("users", "movies", "ratings"))
    assert here / 2 < bytes_of(ranks=8) < here


def test_movies_are_on_every_rank_and_users_are_not():
    parts = {
        ranks: {part.name: part.bytes for part in memory_parts(TrainingJob(1000, 500, 9000, ranks), 0.0)}
        for ranks in (1, 4)
    }
    assert parts[4]["movie tables, gradients, Adam"] == parts[1]["movie tables, gradients, Adam"]
    assert parts[4]["user tables, gradients, Adam"] == parts[1]["user tables, gradients, Adam"] / 4


def test_rows_on_the_host_leave_the_device():
    job = TrainingJob(1_000_000, 10_000, 10**8)
    here, there = memory_parts(job, 0.0), memory_parts(job, 0.0, user_rows="host")
    assert total(here, "host") == 0
    assert total(there, "host") == tables_bytes(1_000_000, 3 * 64 + 1)
    assert total(there) < total(here)


def test_ids_are_wider_beyond_two_billion_ratings():
    few, many = TrainingJob(10**8, 10**6, 2**31 - 1), TrainingJob(10**8, 10**6, 2**31)
    assert graph_bytes(many) - graph_bytes(few) == pytest.approx(4 * 2**31, rel=1e-3)
