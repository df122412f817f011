"""What every objective's trainer offers to the loop that drives it (:mod:`gnnrec.training.run`)."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gnnrec.config import TrainConfig
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed import World, unwrap
from gnnrec.evaluation.metrics import Metrics
from gnnrec.graph.folds import Step
from gnnrec.graph.partition import Partition, PartitionReport, report
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint import CheckpointInfo
from gnnrec.training.checkpoint_read import load_weights, read_replicated, read_rows
from gnnrec.training.checkpoint_write import Contents
from gnnrec.training.optimizer import optimizer_state, set_learning_rate, set_optimizer_state


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What one step did.

    Attributes:
        step: Where in the epoch.
        number: Steps of the run taken, this one included.
        loss: Summed over this rank's targets, before the update, without regularisation (squared error of ratings); a
            scalar tensor, so that nothing waits for it.
        lr: Learning rate.
    """

    step: Step
    number: int
    loss: Tensor
    lr: float


class Trainer:
    """A model, its optimizers and its data on one rank. Every rank makes the same calls.

    Attributes:
        part: The users of this rank.
        model: The replicated part, in DDP where there are several ranks.
        users: This rank's user rows; without tables where users have no rows of their own.
        optimizers: One for each of the two.
        num_edges: Ratings of all ranks that an epoch supervises.
        steps_an_epoch: Steps of an epoch.
        steps_taken: Steps of the run so far.
        starts_fitted: The model is worth something before the first step, so that the start is a checkpoint too.
    """

    part: Partition
    model: nn.Module
    users: NodeTables | NoTables
    optimizers: list[torch.optim.Optimizer]
    num_edges: int
    steps_an_epoch: int
    starts_fitted: bool = False

    def __init__(self, config: TrainConfig, dataset: PreparedDataset, world: World):
        self.config, self.dataset, self.world = config, dataset, world
        self.steps_taken = 0

    def run_epoch(self, number: int, start: int = 0) -> Iterator[StepResult]:
        """Takes the steps of one epoch from step ``start`` on, and yields after each."""
        raise NotImplementedError

    def embed(self) -> Embeddings:
        """Exact embeddings of this rank's users and of all movies."""
        raise NotImplementedError

    def evaluate(self, split: int, embeddings: Embeddings | None = None) -> Metrics:
        """Metrics on one split, over all ranks, with all neighbours."""
        raise NotImplementedError

    def validate(self) -> Metrics:
        """Metrics on validation; whatever validation chooses during training is chosen here."""
        return self.evaluate(VALIDATION)

    def chosen(self) -> dict[str, float]:
        """Settings that training chose on validation, for the summary."""
        return {}

    def breakdown(self, split: int, embeddings: Embeddings) -> dict[str, list[dict]]:
        """Where predictions of a split fail, for the summary."""
        return {}

    def fit_baselines(self) -> dict[str, dict[str, float]]:
        """Name -> test metrics of models that this one has to beat, on the same split."""
        raise NotImplementedError

    def bytes_a_step(self) -> int:
        """Bytes that a rank hands to collectives in a step."""
        raise NotImplementedError

    def contents(self) -> Contents:
        """Everything that a step changes, for a checkpoint."""
        replicated = {"model": self.replicated.state_dict(), "optimizer": {}}
        by_user = {"users": self.users.rows(), "users_optimizer": {}}
        for module, optimizer in zip((self.replicated, self.users), self.optimizers):
            for name, value in optimizer_state(optimizer, module).items():
                of_rows = module is self.users and value.dim() > 0
                group = by_user["users_optimizer"] if of_rows else replicated["optimizer"]
                group[name if of_rows or module is not self.users else f"users/{name}"] = value
        return Contents(replicated, by_user, self.part)

    def restore(self, directory: Path, info: CheckpointInfo) -> None:
        """Takes over what :meth:`contents` gave, on any number of ranks.

        Raises:
            UserError: A file is missing or damaged, or belongs to a model of another shape.
        """
        load_weights(directory, info, self.replicated, self.users, self.part)
        scalars = read_replicated(directory, "optimizer", info)
        of_users = {name.removeprefix("users/"): scalars.pop(name) for name in list(scalars) if name[:6] == "users/"}
        of_users |= read_rows(directory, "users_optimizer", info, self.part)
        for module, optimizer, state in zip((self.replicated, self.users), self.optimizers, (scalars, of_users)):
            set_optimizer_state(optimizer, module, state)
        self.steps_taken = info.step

    @property
    def replicated(self) -> Any:
        """The replicated part of the model, a module without DDP; its class depends on the objective."""
        return unwrap(self.model)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        planned = self.config.optimizer.epochs * self.steps_an_epoch
        return min(planned, self.config.max_steps) if self.config.max_steps else planned

    def update(self, lr: float) -> None:
        """One optimizer step on both parts of the model."""
        for optimizer in self.optimizers:
            set_learning_rate(optimizer, lr)
            optimizer.step()

    def partition_report(self) -> PartitionReport:
        """Users, edges and bytes of every rank, and what a step reduces."""
        return report(self.dataset.manifest.shards, self.dataset.user_ptr, self.world.size, self.bytes_a_step())

    def _autocast(self) -> contextlib.AbstractContextManager:
        wanted = self.config.bf16 and self.world.device.type == "cuda"
        return torch.autocast("cuda", torch.bfloat16) if wanted else contextlib.nullcontext()


@dataclasses.dataclass(frozen=True)
class Lap:
    """Some steps, in figures.

    Attributes:
        edges_per_second: Supervised edges over all ranks.
        step_seconds: Mean time of a step.
        collective_seconds: Of that, what this rank spent in all-reduces; on GPUs only what it took to start them.
        collective_mib: MiB that this rank handed to all-reduces in a step.
    """

    edges_per_second: float
    step_seconds: float
    collective_seconds: float
    collective_mib: float


class Throughput:
    """Targets, steps and collectives since the last call.

    Args:
        world: The ranks.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._start()

    def _start(self) -> None:
        self.since, self.targets, self.steps = time.perf_counter(), 0, 0
        self.seconds, self.bytes = self.world.traffic.seconds, self.world.traffic.bytes

    def add(self, result: StepResult) -> None:
        self.targets += result.step.num_targets
        self.steps += 1

    def lap(self) -> Lap:
        """Figures since the last call; starts anew."""
        elapsed, steps = max(time.perf_counter() - self.since, 1e-9), max(self.steps, 1)
        seconds, size = self.world.traffic.seconds - self.seconds, self.world.traffic.bytes - self.bytes
        lap = Lap(self.targets / elapsed, elapsed / steps, seconds / steps, size / steps / 2**20)
        self._start()
        return lap
