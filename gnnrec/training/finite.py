"""Keeps numbers that are not finite out of the weights and the checkpoints of a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NotFinite(Exception):
    """A loss, a gradient or a weight is NaN or infinite, which every rank has found alike; the text names it."""


class StepGuard:
    """Checks the gradients of the replicated part before they change a weight.

    These are sums over ranks, so all ranks find the same. The gradient of every target of a step reaches them: NaN in a
    loss, or in a user's row, is in them on every rank, while the gradients of user rows, which are as large as the
    rest of the step's memory traffic, need no check.

    On a GPU the host does not wait for the outcome: the optimizers skip the update (``found_inf`` of torch's fused
    ones), and the next record of a step tells.

    Args:
        device: Device of the gradients.
        optimizers: The optimizers of the step.

    Attributes:
        skipped: Updates that were skipped so far, a float32 scalar on the device.
    """

    def __init__(self, device: torch.device, optimizers: list[torch.optim.Optimizer]):
        self.optimizers = optimizers
        self.skipped = torch.zeros((), device=device)
        self._one = torch.ones((), device=device)
        fused = all(optimizer.defaults.get("fused") for optimizer in optimizers)
        self._waits = device.type == "cpu" or not fused

    def check(self, module: nn.Module, step: int) -> None:
        """Refuses, or masks, the update of a step.

        Args:
            module: The replicated part, with its gradients.
            step: Number of the step, from 1.

        Raises:
            NotFinite: A gradient is NaN or infinite; on a GPU the update is masked instead.
        """
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        if not gradients:
            return
        if self._waits:
            # Sums of absolute values.
            if not torch.isfinite(torch.stack(torch._foreach_norm(gradients, 1)).sum()):
                raise NotFinite(f"the loss or its gradient is not finite in step {step}")
            return
        # As in torch.amp.GradScaler: one kernel reads all gradients, multiplies them by 1, and writes 1 if one is NaN
        # or infinite.
        bad = torch.zeros_like(self.skipped)
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, bad, self._one)
        self.skipped += bad
        for optimizer in self.optimizers:
            optimizer.found_inf = bad  # type: ignore[attr-defined]


def is_finite(tensor: Tensor) -> bool:
    """Returns whether no value of a tensor is NaN or infinite; waits for a GPU."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())
