"""Gradient descent with early stopping on validation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gnnrec.data.prepared import VALIDATION, PreparedDataset
from gnnrec.evaluation.rating import held_out, rating_metrics
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph

#: Epochs without a lower validation error after which a fit stops.
PATIENCE = 10


class Adam:
    """Adam over rows of this rank and replicated tables, with a warmup and a cosine schedule to zero.

    Args:
        parameters: Tensors; a replicated one must receive the same gradient on every rank.
        lr: Highest learning rate.
        steps: Length of the schedule.
    """

    def __init__(self, parameters: list[Tensor], lr: float, steps: int):
        self.steps, self.parameters = steps, parameters
        self.optimizer = torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.99), fused=True)
        warmup = max(1, min(20, steps // 10))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min(1, (step + 1) / warmup) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2,
        )

    def step(self, gradients: list[Tensor]) -> None:
        """Updates the parameters with one gradient each."""
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.optimizer.step()
        self.schedule.step()


def validation_error(
    dataset: PreparedDataset, graph: RankGraph, predict: Callable[[Targets], Tensor]
) -> Callable[[], float | None]:
    """A function that returns the validation RMSE of the predictions, the same on every rank; None without ratings."""
    targets = held_out(dataset, graph.part, VALIDATION, graph.world, graph.dtype)

    def error() -> float | None:
        metrics = rating_metrics(predict(targets), targets.rating, graph.rating_unit, graph.world)
        return graph.world.broadcast_object(metrics.loss)

    return error


def train_to_best_epoch(
    parameters: list[Tensor],
    epochs: int,
    train_epoch: Callable[[int], None],
    error: Callable[[], float | None] | None,
) -> int:
    """Trains, and restores the parameters of the epoch with the lowest error.

    Args:
        parameters: Changed in place by ``train_epoch``.
        epochs: Most epochs.
        train_epoch: Trains one epoch, given its number from 0.
        error: The error on validation; None trains for all ``epochs``.

    Returns:
        The number of epochs that the parameters were trained.
    """
    best, lowest, best_values = epochs, math.inf, None
    for epoch in range(epochs):
        train_epoch(epoch)
        epoch_error = error() if error is not None else None
        if epoch_error is None:
            continue
        if epoch_error < lowest:
            best, lowest = epoch + 1, epoch_error
            best_values = [parameter.detach().clone() for parameter in parameters]
        elif epoch + 1 - best >= PATIENCE or not math.isfinite(epoch_error):
            break
    if best_values is not None:
        with torch.no_grad():
            for parameter, value in zip(parameters, best_values):
                parameter.copy_(value)
    return best
