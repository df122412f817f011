"""Small runs in this process that are disturbed at chosen moments."""

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
    """Stands in for a :class:`gnnrec.distributed.shutdown.StopRequest`: something happens when the program looks
    after a step.

    It also looks once in each validation.

    Args:
        actions: Number of the step, from 1 -> what happens then. ``STOP`` asks for a stop, which comes a step later.
    """

    def __init__(self, actions: dict[int, Callable[[], None] | int]):
        self.looks, self._code = 0, 0
        self.actions = {step + (step - 1) // FOLDS: action for step, action in actions.items()}

    def limit(self, minutes: float) -> None:
        """Knows no clock."""

    @property
    def code(self) -> int:
        self.looks += 1
        action = self.actions.get(self.looks)
        if callable(action):
            action()
        elif action:
            self._code = action
        return self._code


def config_of(dataset: PreparedDataset, run_dir: Path, **options) -> TrainConfig:
    """Twenty-four steps on all users, which go on with whatever is there."""
    options = {"device": "cpu", "resume": "auto", "log_every": 1, "baselines": False} | options
    options["optimizer"] = {"epochs": EPOCHS} | options.get("optimizer", {})
    return make_config(dataset.directory, run_dir, loader={"folds": FOLDS}, **options)


def run(config: TrainConfig, actions: dict | None = None) -> dict:
    """Trains on one rank."""
    return train(config, dataclasses.replace(World(), stop=Script(actions or {})))
