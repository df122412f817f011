"""Training steps without records, checkpoints and validation, for benchmarks and tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch import Tensor

from gnnrec.graph.folds import Step
from gnnrec.training.trainer import OptimizerUpdate, Trainer


@dataclasses.dataclass(frozen=True)
class StepTaken:
    """One training step.

    Attributes:
        step: The position of the step in its epoch.
        loss: The loss summed over this rank's targets, before the update.
        update: The optimizer's update.
    """

    step: Step
    loss: Tensor
    update: OptimizerUpdate


def run_epoch(trainer: Trainer, epoch: int, start: int = 0) -> Iterator[StepTaken]:
    """Takes the steps of one epoch from step ``start`` on, and yields after each; every rank calls this."""
    for index in range(start, trainer.steps_an_epoch):
        if trainer.finished:
            return
        step, batch = trainer.make_batch(epoch, index)
        loss = trainer.forward_backward(step, batch)
        del batch
        yield StepTaken(step, loss, trainer.optimizer_step())
