"""The trainer of gnnrec in speed benchmarks, run epoch by epoch in this process."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.steps import run_epoch
from gnnrec.config.train_config import parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.training.rating_trainer import RatingTrainer

#: The setup of the plain recipe: two layers, 64 dims, ten neighbors on both sides. A step takes all users and a tenth
#: of the ratings.
FAN_OUT_10 = [
    "--model.layers=2",
    "--loader.folds=10",
    "--loader.seed-users=0",
    "--loader.movies-per-user=10",
    "--loader.raters-per-movie=10",
]


def build(data: Path, options: list[str], device: str = "cpu") -> RatingTrainer:
    """Builds a fresh trainer in this process.

    Args:
        data: A prepared dataset.
        options: Options of training, as on the command line.
        device: ``cpu`` or ``cuda``.
    """
    config = parse_train_config([*options, f"--data={data}", "--run-dir=unused", f"--device={device}"])
    world = World(device=torch.device("cuda", 0) if device == "cuda" else torch.device("cpu"))
    return RatingTrainer(config, PreparedDataset(data), world)


def epoch_seconds(trainer: RatingTrainer, number: int) -> tuple[float, int]:
    """Measures seconds of one whole epoch, everything included, and the ratings that it supervised."""
    started, targets = now(trainer), 0
    for result in run_epoch(trainer, number):
        targets += result.step.num_targets
    return now(trainer) - started, targets


def curve(trainer: RatingTrainer, every: int, goal: float | None = None) -> Iterator[dict]:
    """Follows validation RMSE over training seconds (validation is not counted), up to the end or to ``goal``.

    Args:
        trainer: A fresh trainer.
        every: Steps between validations.
        goal: RMSE at which to stop.
    """
    trained, targets, since = 0.0, 0, now(trainer)
    for number in range(trainer.config.optimizer.epochs):
        for result in run_epoch(trainer, number):
            targets += result.step.num_targets
            last = result.update.number == trainer.total_steps
            if result.update.number % every and not last:
                continue
            trained += now(trainer) - since
            rmse = trainer.validate().rmse
            yield {"step": result.update.number, "edges": targets, "seconds": trained, "validation_rmse": rmse}
            since = now(trainer)
            if goal is not None and rmse <= goal:
                return


def embed_seconds(trainer: RatingTrainer) -> float:
    """Measures seconds to embed all users and all movies from all their ratings."""
    started = now(trainer)
    trainer.embed()
    return now(trainer) - started


def now(trainer: RatingTrainer) -> float:
    """Reads the clock after the device has finished."""
    if trainer.world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_gb() -> float:
    """Most memory that this process has held: on the GPU where there is one, else resident."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
