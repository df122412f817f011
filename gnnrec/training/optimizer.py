"""Optimizers of the two parts of the model, and their common schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from gnnrec.training.options import OptimizerOptions

#: Adam's epsilon times the targets of a step, where epsilon is chosen by rule.
EPS_TIMES_TARGETS = 5e-4


def build_optimizer(options: OptimizerOptions, module: nn.Module, targets_a_step: float) -> torch.optim.Optimizer:
    """An optimizer over all parameters of ``module``; its learning rate is set by :func:`learning_rate` each step.

    Args:
        options: The optimizer's options.
        module: The replicated part, or this rank's user rows.
        targets_a_step: Mean number of targets of a step over all ranks.
    """
    if options.name == "sgd":
        return torch.optim.SGD(module.parameters(), lr=options.lr)
    eps = options.eps or EPS_TIMES_TARGETS / max(targets_a_step, 1.0)
    betas = (options.beta1, options.beta2)
    return torch.optim.Adam(module.parameters(), lr=options.lr, betas=betas, eps=eps, fused=True)


def learning_rate(options: OptimizerOptions, step: int, total_steps: int) -> float:
    """Learning rate of one step: a linear rise, then constant or half a cosine down to zero.

    Args:
        options: The optimizer's options.
        step: Steps taken before this one.
        total_steps: Steps of the whole run.
    """
    warmup = min(options.warmup_steps, total_steps // 2)
    if step < warmup:
        return options.lr * (step + 1) / warmup
    if options.schedule == "constant":
        return options.lr
    done = (step - warmup) / max(total_steps - warmup, 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * done))
