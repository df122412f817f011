"""Interface of the trainers of all objectives to the training loop (:mod:`gnnrec.training.loop`)."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.distributed.world import World, unwrap
from gnnrec.evaluation.metrics import Metrics
from gnnrec.graph.folds import Step
from gnnrec.graph.partition import Partition, PartitionReport, partition_report
from gnnrec.models.embeddings import NodeEmbeddings
from gnnrec.models.tables import NodeTables, NoTables
from gnnrec.training.checkpoint.info import CheckpointInfo
from gnnrec.training.checkpoint.read import load_weights, read_replicated, read_rows
from gnnrec.training.checkpoint.write import CheckpointState
from gnnrec.training.finite import StepGuard
from gnnrec.training.fitted_lists import FittedLists
from gnnrec.training.optimizer import learning_rate, optimizer_state, set_learning_rate, set_optimizer_state
from gnnrec.training.row_rates import RowRates
from gnnrec.training.train_state import TrainState
from gnnrec.utils.timer import Timer


@dataclasses.dataclass(frozen=True)
class OptimizerUpdate:
    """One optimizer step that was taken.

    Attributes:
        number: Steps of the run taken, this one included.
        lr: Learning rate.
        skipped: Updates of the run so far that a GPU skipped because their gradients were not finite, a float32 scalar.
        squared_gradient_norms: Before the update, coupled L2 included, float64 ``[2]``: of the replicated part, and of
            this rank's user rows; None in steps that are not logged.
    """

    number: int
    lr: float
    skipped: Tensor
    squared_gradient_norms: Tensor | None = None


#: Starts of the names of parameters that validations fit: what features say of movies without ratings.
_FITTED = ("cold_movies.", "cold_rows.")


class Trainer:
    """A model, its optimizers and its data on one rank. Every rank makes the same calls.

    Attributes:
        part: The users of this rank.
        model: The replicated part, in DDP where there are several ranks.
        users: This rank's user rows; without tables for models that have no user rows.
        optimizers: One for each of the two.
        num_edges: Supervised ratings of an epoch, over all ranks.
        steps_an_epoch: Steps of an epoch.
        steps_taken: Steps of the run so far.
        lr_scale: Factor of all learning rates; below 1 after the run has gone back.
        batch_timer: Times batch construction: statistics of a pass, neighbor sampling, targets.
        row_rates: Learning rates of rows, in a run that continues from another; None for the same rate for all.
        starts_fitted: The model is fitted before the first step, so its initial weights are validated and saved too.
    """

    part: Partition
    model: nn.Module
    users: NodeTables | NoTables
    optimizers: list[torch.optim.Optimizer]
    num_edges: int
    steps_an_epoch: int
    row_rates: RowRates | None = None
    starts_fitted: bool = False

    def __init__(self, config: TrainConfig, dataset: PreparedDataset, world: World):
        self.config, self.dataset, self.world = config, dataset, world
        self.steps_taken, self.lr_scale = 0, 1.0
        self.batch_timer = Timer(world.device.type == "cuda")

    def make_batch(self, epoch: int, index: int) -> tuple[Step, Any]:
        """Step ``index`` of an epoch, both from 0, and the batch that :meth:`forward_backward` takes."""
        raise NotImplementedError

    def forward_backward(self, step: Step, batch: Any) -> Tensor:
        """Leaves the gradient of the global loss in every parameter.

        Returns:
            The loss summed over this rank's targets, before the update and without regularization (squared errors of
            ratings): a scalar tensor, so that nothing waits for it.
        """
        raise NotImplementedError

    def backward(self, loss: Tensor, divisor: float) -> None:
        """Adds the gradient of ``loss / divisor`` to those of the parameters, with the bits of that division."""
        loss.backward(torch.full_like(loss, (torch.ones((), dtype=loss.dtype) / divisor).item()))

    def embed(self) -> NodeEmbeddings:
        """Exact embeddings of this rank's users and of all movies."""
        raise NotImplementedError

    def evaluate(self, split: int, embeddings: NodeEmbeddings | None = None) -> Metrics:
        """Metrics on one split, over all ranks, with all neighbors."""
        raise NotImplementedError

    def validate(self) -> Metrics:
        """Metrics on validation; settings that validation chooses during training are chosen here."""
        return self.evaluate(VALIDATION)

    def becomes_best(self, validation: Metrics, state: TrainState) -> bool:
        """Counts a validation; whether the current weights become the best ones, the same on every rank.

        Ranks have the same loss except for rounding, but all must save, and stop early, after the same epoch.
        """
        loss = self.world.broadcast_object(validation.loss)
        return self.world.broadcast_object(self.is_best(state.add_validation(loss)))

    def is_best(self, lowest: bool) -> bool:
        """Whether the weights of the latest validation are better than the best ones so far.

        Args:
            lowest: The validation loss is the lowest so far.
        """
        return lowest

    def chosen(self) -> dict[str, float]:
        """Settings chosen on validation, for the summary."""
        return {}

    def breakdown(self, split: int, embeddings: NodeEmbeddings) -> dict[str, list[dict]]:
        """Errors on a split by groups of ratings, for the summary."""
        return {}

    def feature_worth(self) -> dict[str, dict[str, dict[str, float]]]:
        """Growth of the validation error if a column of features belongs to other nodes; empty for other models."""
        return {}

    def fit_baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of the baselines on the same split: name -> metrics."""
        raise NotImplementedError

    def fit_lists(self, embeddings: NodeEmbeddings, epoch: int) -> FittedLists | None:
        """Fits what lists of the best weights are ordered by too; None for models that rank by their own scores alone.

        Every rank calls this once the best weights are loaded.

        Args:
            embeddings: Their embeddings.
            epoch: The epoch after which they were saved, 0 for weights before the first step.
        """
        return None

    def measure_lists(self, embeddings: NodeEmbeddings, fitted: FittedLists | None) -> dict[str, Any]:
        """Test metrics of lists next to those of simple lists, for the summary; empty if the test metrics are those."""
        return {}

    def bytes_a_step(self) -> int:
        """Bytes that a rank passes to collectives per step."""
        raise NotImplementedError

    def checkpoint_state(self) -> CheckpointState:
        """State of a checkpoint: everything that a step changes, and zeros in place of what validations fit."""
        model = self.replicated.state_dict()
        model |= {name: torch.zeros_like(value) for name, value in model.items() if name.startswith(_FITTED)}
        replicated = {"model": model, "optimizer": {}}
        by_user = {"users": self.users.tables(), "users_optimizer": {}}
        for module, optimizer in zip((self.replicated, self.users), self.optimizers):
            for name, value in optimizer_state(optimizer, module).items():
                has_rows = module is self.users and value.dim() > 0
                group = by_user["users_optimizer"] if has_rows else replicated["optimizer"]
                group[name if has_rows or module is not self.users else f"users/{name}"] = value
        return CheckpointState(replicated, by_user, self.part, self.users.memory)

    def best_weights(self) -> CheckpointState:
        """Weights of the best checkpoint, as the last validation measured them."""
        contents = self.checkpoint_state().weights()
        model = self.replicated.state_dict()
        fitted = {name: value for name, value in model.items() if name.startswith(_FITTED)}
        contents.replicated["model"] = {**contents.replicated["model"], **fitted}
        return contents

    def restore(self, directory: Path, info: CheckpointInfo) -> None:
        """Restores the state of :meth:`checkpoint_state`, saved on any number of ranks.

        Raises:
            UserError: A file is missing or damaged, or belongs to a model of another shape.
        """
        load_weights(directory, info, self.replicated, self.users, self.part)
        shared = read_replicated(directory, "optimizer", info)
        by_user = {name.removeprefix("users/"): shared.pop(name) for name in list(shared) if name[:6] == "users/"}
        by_user |= read_rows(directory, "users_optimizer", info, self.part, memory=self.users.memory.host_memory)
        for module, optimizer, state in zip((self.replicated, self.users), self.optimizers, (shared, by_user)):
            set_optimizer_state(optimizer, module, state, directory)
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

    @property
    def finished(self) -> bool:
        """Whether all steps of the run have been taken."""
        return self.steps_taken >= self.total_steps

    def optimizer_step(self) -> OptimizerUpdate:
        """Updates both parts of the model with the gradients that :meth:`forward_backward` left.

        Raises:
            NotFinite: The gradients are not finite, and nothing was changed (:class:`StepGuard`).
        """
        lr = self.lr_scale * learning_rate(self.config.optimizer, self.steps_taken, self.total_steps)
        self._guard.check(self.replicated, self.steps_taken + 1)
        logged = (self.steps_taken + 1) % self.config.log_every == 0
        norms = self.squared_gradient_norms() if logged else None
        self.update(lr)
        self.steps_taken += 1
        return OptimizerUpdate(self.steps_taken, lr, self._guard.skipped, norms)

    @cached_property
    def _guard(self) -> StepGuard:
        return StepGuard(self.world.device, self.optimizers)

    def update(self, lr: float) -> None:
        """Updates both parts of the model at a learning rate."""
        with record_function("update"):
            with self.row_rates.scaled() if self.row_rates else contextlib.nullcontext():
                for optimizer in self.optimizers:
                    set_learning_rate(optimizer, lr)
                    optimizer.step()
            self.constrain()

    def constrain(self) -> None:
        """Projects parameters back onto the values that the model allows; all of them by default."""

    def squared_gradient_norms(self) -> Tensor:
        """Squared norms of the gradients of the replicated part and of this rank's user rows, float64 ``[2]``."""
        parts = [
            sum(torch.linalg.vector_norm(gradient, dtype=torch.float64).square() for gradient in _gradients(module))
            for module in (self.replicated, self.users)
        ]
        return torch.stack([torch.as_tensor(part, dtype=torch.float64, device=self.world.device) for part in parts])

    def partition_report(self) -> PartitionReport:
        """Users, edges and bytes of every rank, and bytes that a step reduces."""
        return partition_report(
            self.dataset.manifest.shards, self.dataset.user_ptr, self.world.size, self.bytes_a_step()
        )

    def _autocast(self) -> contextlib.AbstractContextManager:
        wanted = self.config.bf16 and self.world.device.type == "cuda"
        return torch.autocast("cuda", torch.bfloat16) if wanted else contextlib.nullcontext()


def _gradients(module: nn.Module) -> list[Tensor]:
    """Gradients of a module's parameters; only the stored rows of sparse ones."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
