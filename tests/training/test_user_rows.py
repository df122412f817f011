"""User rows in host memory and in mapped files: the same numbers as on the device, without using its memory."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import re
from pathlib import Path

import pytest
import torch

from benchmarks.steps import run_epoch
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.inference.evaluate import EvaluateOptions, evaluate
from gnnrec.models.fetched_tables import FetchedTables
from gnnrec.models.row_memory import FileMemory, RowMemory
from gnnrec.training.checkpoint.info import CheckpointInfo, read_info
from gnnrec.training.checkpoint.write import CheckpointWriter
from gnnrec.training.lazy_adam import LazyAdam
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.run import train
from tests.configs import SAMPLED, make_config
from tests.datasets import with_random_features, write_dataset
from tests.distributed.ranks import run_on_ranks
from tests.steps import steps_of

PLACES = ["host", "file"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return with_random_features(write_dataset(tmp_path_factory.mktemp("user rows"), users=61, movies=31, ratings=900))


def trainer_of(dataset, run_dir: Path, place: str, world: World | None = None, **options) -> RatingTrainer:
    return RatingTrainer(make_config(dataset.directory, run_dir, user_rows=place, **options), dataset, world or World())


def after_steps(trainer: RatingTrainer, steps: int) -> dict[str, torch.Tensor]:
    """State after some steps, and embeddings."""
    for result in itertools.islice(run_epoch(trainer, 0), steps):
        assert result.loss > 0
    contents, embeddings = trainer.checkpoint_state(), trainer.embed()
    groups = (contents.replicated | contents.by_user).items()
    state = {f"{group}/{name}": value.detach().clone() for group, values in groups for name, value in values.items()}
    return state | {"user embedding": embeddings.user, "movie embedding": embeddings.movie}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("options", [{}, {"architecture": "gat", "layers": 2}, {"layers": 0}], ids=str)
def test_whole_neighborhoods_give_the_same_bits_as_on_the_device(dataset, tmp_path, place, options):
    expected = after_steps(trainer_of(dataset, tmp_path, "device", model=options), 5)
    state = after_steps(trainer_of(dataset, tmp_path, place, model=options), 5)
    assert state.keys() == expected.keys() and any(name.startswith("users_optimizer/") for name in state)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


@pytest.mark.parametrize("control_variate", [True, False])
def test_sampled_gradients_equal_those_on_the_device_and_l2_is_divided_by_the_inclusion_probability(
    dataset, tmp_path, control_variate
):
    loader, none = SAMPLED | {"control_variate": control_variate}, {"ids": 0.0, "messages": 0.0, "biases": 0.0}
    for regularization in (none, {"sparse_degree": 0.0}):
        dense, sparse = (
            trainer_of(dataset, tmp_path, place, loader=loader, regularization=regularization)
            for place in ("device", "host")
        )
        for trainer in (dense, sparse):
            step, batch = trainer.make_batch(0, 0)
            trainer.forward_backward(step, batch)
        users = batch.users.sort().values
        for name, table in dense.users.tables().items():
            gradient = sparse.users.tables()[name].grad.coalesce()
            assert torch.equal(gradient.indices()[0], users)
            expected = table.grad[users]
            if regularization is not none:
                # The penalty by its formula: strength * degree ** power / ratings * |row|^2 in every step.
                strength = {"id_embedding": 300.0, "bias": 100.0}.get(name, 120.0) / dense.graph.num_edges
                rows = strength * dense.graph.user_degree[users].double().clamp(min=1) ** -0.25
                probability = sparse.optimizers[1].inclusion_probability[users]
                more = 2 * rows * (1 / probability - 1)
                expected = expected + (more if table.dim() == 1 else more[:, None]) * table[users]
            torch.testing.assert_close(gradient.values(), expected.float(), rtol=1e-4, atol=1e-7)


def test_a_sampled_step_changes_only_the_rows_of_its_batch(dataset, tmp_path):
    trainer = trainer_of(dataset, tmp_path, "file", loader=SAMPLED | {"control_variate": False})
    before = {name: value.detach().clone() for name, value in trainer.users.tables().items()}
    step, batch = trainer.make_batch(0, 0)
    trainer.forward_backward(step, batch)
    trainer.update(0.01)
    visited = torch.zeros(dataset.num_users, dtype=torch.bool)
    visited[batch.users] = True
    assert 0 < visited.sum() < dataset.num_users
    for name, value in trainer.users.tables().items():
        changed = (value != before[name]).reshape(dataset.num_users, -1).any(1)
        # A bias of zero without a target has no gradient, not even of L2.
        assert torch.equal(changed, visited) or (name == "bias" and changed.any() and not changed[~visited].any()), name


@pytest.mark.slow
@pytest.mark.parametrize("raters", [0, 3, -1])
def test_users_are_visited_with_their_inclusion_probability(dataset, tmp_path, raters):
    loader = SAMPLED | {"raters_per_movie": raters, "control_variate": False, "seed_users": 5, "folds": 2}
    trainer = trainer_of(dataset, tmp_path, "host", loader=loader)
    visits, steps = torch.zeros(dataset.num_users), 0
    for number in range(20):
        epoch = trainer.epoch(number)
        for step in steps_of(epoch):
            visits[trainer.loader.batch(epoch, step).users] += 1
            steps += 1
    expected = trainer.optimizers[1].inclusion_probability
    deviation = (expected * (1 - expected) / steps).sqrt()
    assert expected.min() > 0 and expected.max() <= 1 and (raters != 3 or expected.std() > 0.05)
    assert ((visits / steps - expected).abs() <= 5 * deviation + 1e-9).all()


def sparse_gradients(rows: int, steps: int, size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    gradients = []
    for _ in range(steps):
        chosen = torch.randperm(rows, generator=generator)[:size]
        values = torch.randn(size, 3, generator=generator, dtype=torch.float64)
        gradients.append(torch.sparse_coo_tensor(chosen[None], values, (rows, 3), check_invariants=False))
    return gradients


def minimize(optimizer_of, gradients) -> torch.Tensor:
    table = torch.nn.Parameter(torch.ones(gradients[0].shape, dtype=torch.float64))
    optimizer = optimizer_of(table)
    for gradient in gradients:
        table.grad = gradient
        optimizer.step()
    return table.detach()


def lazy_adam(table: torch.nn.Parameter, inclusion_probability: float, eps: float) -> LazyAdam:
    share = torch.full((len(table),), inclusion_probability, dtype=torch.float64)
    optimizer = LazyAdam([{"params": [table]}], 0.01, (0.9, 0.99), eps, share)
    moments = {name: torch.zeros_like(table) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[table] = {"step": torch.zeros(())} | moments
    return optimizer


def test_lazy_adam_is_adam_if_all_rows_are_visited():
    gradients = sparse_gradients(7, 9, 7)
    table = minimize(lambda table: lazy_adam(table, 1.0, 0.1), gradients)
    expected = minimize(
        lambda table: torch.optim.Adam([table], lr=0.01, betas=(0.9, 0.99), eps=0.1),
        [gradient.to_dense() for gradient in gradients],
    )
    torch.testing.assert_close(table, expected)


def test_lazy_adam_is_sparse_adam_with_larger_steps_for_rare_visits():
    gradients = sparse_gradients(11, 9, 4)

    def sparse_adam(lr: float) -> torch.Tensor:
        return minimize(lambda table: torch.optim.SparseAdam([table], lr=lr, betas=(0.9, 0.99), eps=1e-12), gradients)

    for inclusion_probability, factor in ((1.0, 1.0), (0.25, 2.0), (0.01, 10.0), (1e-9, 10.0)):
        table = minimize(
            lambda table, inclusion_probability=inclusion_probability: lazy_adam(table, inclusion_probability, 1e-12),
            gradients,
        )
        torch.testing.assert_close(table, sparse_adam(0.01 * factor), rtol=1e-6, atol=1e-9)


RUNS = {
    "adam": {"loader": SAMPLED | {"control_variate": False}, "optimizer": {"eps": 1e-3}},
    "sgd": {"loader": SAMPLED, "optimizer": {"name": "sgd"}},
    "whole": {"optimizer": {"eps": 1e-3}},
}


def train_steps(world: World, data: str, run_dir: str) -> dict[str, dict[str, torch.Tensor]]:
    torch.set_default_dtype(torch.float64)
    dataset = PreparedDataset(data)
    results = {
        name: after_steps(trainer_of(dataset, Path(run_dir), "file", world, **options), 4)
        for name, options in RUNS.items()
    }
    torch.set_default_dtype(torch.float32)
    return results


@pytest.mark.slow
def test_ranks_agree_with_one(dataset, tmp_path):
    (one,), two = (run_on_ranks(ranks, train_steps, str(dataset.directory), str(tmp_path)) for ranks in (1, 2))
    for name, expected in one.items():
        for key, value in expected.items():
            parts = [rank[name][key] for rank in two]
            if key.startswith(("users", "pass_users", "user embedding")):
                parts = [torch.cat(parts)]
            for part in parts:
                torch.testing.assert_close(part, value, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: key + text)


MANY_STEPS = {"optimizer": {"eps": 1e-3}, "loader": {"folds": 6}}


def save_steps(world: World, data: str, directory: str, place: str) -> None:
    """Two steps and a checkpoint."""
    trainer = trainer_of(PreparedDataset(data), Path(directory), place, world, **MANY_STEPS)
    after_steps(trainer, 2)
    info = CheckpointInfo(epoch=0, step=2, validation={}, dataset=trainer.dataset.fingerprint)
    CheckpointWriter(Path(directory) / "step-2", trainer.checkpoint_state().copy(world), info, world).finish()


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [("file", "device"), ("device", "file"), ("host", "file")])
def test_training_resumes_with_rows_elsewhere_on_another_number_of_ranks(dataset, tmp_path, before, after):
    expected = after_steps(trainer_of(dataset, tmp_path, "device", **MANY_STEPS), 5)
    run_on_ranks(2, save_steps, str(dataset.directory), str(tmp_path), before)
    trainer = trainer_of(dataset, tmp_path, after, **MANY_STEPS)
    trainer.restore(tmp_path / "step-2", read_info(tmp_path / "step-2"))
    assert len(list(itertools.islice(run_epoch(trainer, 0, 2), 3))) == 3
    state = trainer.checkpoint_state()
    for group, values in (state.replicated | state.by_user).items():
        for name, value in values.items():
            torch.testing.assert_close(value, expected[f"{group}/{name}"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_run_is_evaluated_as_at_its_end(tmp_path, place):
    dataset = write_dataset(tmp_path / "data", users=61, movies=31, ratings=900, test=0.2)
    loader = SAMPLED | {"control_variate": False}
    config = make_config(dataset.directory, tmp_path / "run", loader=loader, user_rows=place, log_every=1)
    summary = train(config, World())
    metrics = evaluate(tmp_path / "run", EvaluateOptions(), World())
    assert metrics["test"][0].rmse == pytest.approx(summary["test_rmse"], rel=1e-6)
    assert not [path for path in (tmp_path / "run").rglob("*") if "user-rows" in path.name]


def anonymous_mib() -> float:
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def anonymous_memory_taken(directory: Path) -> dict[str, float]:
    """MiB that a table of 128 MiB and its copy take, by the class of their memory."""
    taken = {}
    for memory in (FileMemory(directory), RowMemory(torch.device("cpu"))):
        before = anonymous_mib()
        table = memory.zeros((1 << 20, 32), torch.float32)
        assert not table[::1000].any()
        table.fill_(1)
        copy = memory.host_copy(table)
        taken[type(memory).__name__] = anonymous_mib() - before
        assert copy.sum() == table.numel() and copy.data_ptr() != table.data_ptr()
        del table, copy
    return taken


@pytest.mark.slow
def test_files_take_no_anonymous_memory_and_are_removed(tmp_path):
    """The memory of a new process is measured; in this one the C library may hold memory that other tests freed."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        taken = pool.apply(anonymous_memory_taken, (tmp_path,))
    assert taken["RowMemory"] > 200 and taken["FileMemory"] < 30
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_an_error_at_the_start_but_not_while_saving(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    memory, rows = FileMemory(tmp_path), torch.randn(3, 2)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match=r"1 MiB of user rows \(No space left on device\): .*--user-rows host"):
        memory.zeros((512, 512), torch.float32)
    assert torch.equal(memory.host_copy(rows), rows)


def test_rows_are_fetched_to_the_compute_device():
    """The meta device represents a device other than the host."""
    users = FetchedTables("user", torch.arange(5), 3, 0, 1.0, 1.0, memory=RowMemory(torch.device("cpu")))
    users.compute_device = torch.device("meta")
    for chosen, rows in ((None, 5), (slice(1, 3), 2), (torch.tensor([4, 0, 2]), 3)):
        fetched = users.rows(chosen)
        assert {row.device.type for row in fetched.values()} == {"meta"} and fetched["message_embedding"].shape == (
            rows,
            3,
        )
    assert {table.device.type for table in users.tables().values()} == {"cpu"}
