"""Trains sampled steps on the pretend GPU and on the CPU: ``python -m tests.pretend_gpu.sampled_steps DIRECTORY``.

Prints a JSON object with the losses and validations of each case on both devices, or the text of an error, and the
error of an operator that mixes devices.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import torch

from gnnrec.config.train_config import TrainConfig, parse_train_config
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed.world import World
from gnnrec.kernels import dispatch
from gnnrec.training.rating_trainer import RatingTrainer
from tests.pretend_gpu.cases import CASES, SMALL, STEPS
from tests.pretend_gpu.device import pretend_gpu
from tests.pretend_gpu.host_library import host_library


def losses(config: TrainConfig, dataset: PreparedDataset, device: torch.device) -> list[float]:
    """Squared errors of the first steps, each from the batch to the update of the optimizers, between validations.

    Returns:
        RMSE before the steps, the squared error of each, RMSE after them, and RMSE without time.
    """
    trainer = RatingTrainer(config, dataset, World(device=device))
    errors = [trainer.validate().rmse]
    for index in range(STEPS):
        step, batch = trainer.make_batch(0, index)
        assert batch.user_rows.device == batch.targets.movie.device == device
        errors.append(trainer.forward_backward(step, batch).item())
        trainer.optimizer_step()
    validated = trainer.validate()
    return [*errors, validated.rmse, validated.rmse_without_time]


def on_both_devices(options: list[str], directory: str) -> dict[str, list[float]]:
    published, *others = options
    common = [f"--data={directory}", "--run_dir=unused", "--log_every=1"]
    config = parse_train_config([published, *SMALL, *others, *common])
    dataset = PreparedDataset(Path(directory))
    with dispatch.forced("reference"):
        expected = losses(config, dataset, torch.device("cpu"))
    with pretend_gpu() as device:
        return {"cpu": expected, "pretend": losses(config, dataset, device)}


def error_of_mixing() -> str:
    """Returns the error of an operator with tensors on two devices."""
    with pretend_gpu() as device:
        try:
            torch.ones(3, device=device) + torch.ones(3)
        except RuntimeError as error:
            return str(error)
    return ""


def main(directory: str) -> None:
    results = {"mixing": error_of_mixing()}
    for name, options in CASES.items():
        try:
            with host_library():
                results[name] = on_both_devices(options, directory)
        except Exception:
            results[name] = traceback.format_exc(limit=-4)
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
