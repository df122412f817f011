"""Small runs in this process that are interrupted at chosen steps."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

from gnnrec.config.train_config import TrainConfig
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.run import train
from tests.configs import make_config

STOP = int(signal.SIGTERM)
EPOCHS, FOLDS = 8, 3
STEPS = EPOCHS * FOLDS


class Script:
    """Replaces a :class:`gnnrec.distributed.shutdown.StopRequest`; it acts when its code is read after a step.

    The program also reads it once in each validation.

    Args:
        actions: Number of the step, from 1 -> action after it. ``STOP`` asks for a stop, which comes a step later.
    """

    def __init__(self, actions: dict[int, Callable[[], None] | int]):
        self.reads, self._code = 0, 0
        self.actions = {step + (step - 1) // FOLDS: action for step, action in actions.items()}

    def limit(self, minutes: float) -> None:
        """Ignores time limits."""

    @property
    def code(self) -> int:
        self.reads += 1
        action = self.actions.get(self.reads)
        if callable(action):
            action()
        elif action:
            self._code = action
        return self._code


def config_of(dataset: PreparedDataset, run_dir: Path, **options) -> TrainConfig:
    """Configuration of 24 steps on all users, which resumes a run in the directory."""
    options = {"device": "cpu", "resume": "auto", "log_every": 1, "baselines": False} | options
    options["optimizer"] = {"epochs": EPOCHS} | options.get("optimizer", {})
    return make_config(dataset.directory, run_dir, loader={"folds": FOLDS}, **options)


def run(config: TrainConfig, actions: dict | None = None) -> dict:
    """Trains on one rank."""
    return train(config, dataclasses.replace(World(), stop=Script(actions or {})))
