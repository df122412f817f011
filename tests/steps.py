"""All steps of an epoch, and all batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gnnrec.graph.folds import Epoch, Step
from gnnrec.training.trainer import Trainer


def steps_of(epoch: Epoch, start: int = 0) -> list[Step]:
    return [epoch.step(index) for index in range(start, epoch.num_steps)]


def batches_of(trainer: Trainer, epoch: int) -> Iterator[tuple[Step, Any]]:
    for index in range(trainer.steps_an_epoch):
        yield trainer.make_batch(epoch, index)
