"""Puts NaN into a step of a run, in this process."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from unittest.mock import patch

import torch
from torch import Tensor

from gnnrec.config.train_config import TrainConfig
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer
from gnnrec.training.run import train

#: What becomes NaN: the loss of a rank, its gradient of a replicated tensor before the sum over ranks, the weights of
#: one of its users before the step, or after it.
KINDS = ("loss", "gradient", "row", "row after")


@contextlib.contextmanager
def poisoned(kind: str, step: int, rank: int = 0, times: int = 1) -> Iterator[list[int]]:
    """Context in which step ``step`` (from 1) of a rating run is poisoned on a rank, the first ``times`` times.

    Yields:
        The steps that were poisoned so far.
    """
    done: list[int] = []
    original = RatingTrainer.forward_backward

    def forward_backward(self: RatingTrainer, *arguments) -> Tensor:
        due = self.steps_taken + 1 == step and self.world.rank == rank and len(done) < times
        if not due:
            return original(self, *arguments)
        done.append(step)
        hooks = []
        if kind == "loss":
            hooks.append(self.model.register_forward_hook(lambda *call: call[2] * math.nan))
        elif kind == "gradient":
            hooks.append(next(iter(self.replicated.parameters())).register_hook(lambda gradient: gradient * math.inf))
        elif kind == "row":
            _spoil(self)
        loss = original(self, *arguments)
        for hook in hooks:
            hook.remove()
        if kind == "row after":
            update = self.update

            def spoiled(lr: float) -> None:
                update(lr)
                _spoil(self)
                self.update = update

            self.update = spoiled
        return loss

    with patch.object(RatingTrainer, "forward_backward", forward_backward):
        yield done


def _spoil(trainer: RatingTrainer) -> None:
    """Makes the rows of the user of this rank with the most ratings NaN."""
    row = int(trainer.graph.user_degree.argmax())
    with torch.no_grad():
        for table in trainer.users.tables().values():
            table[row] = math.nan


def train_poisoned(world: World, config: TrainConfig, kind: str, step: int, rank: int, times: int = 1) -> dict:
    """Trains with a poisoned step; returns the summary."""
    with poisoned(kind, step, rank, times):
        return train(config, world)
