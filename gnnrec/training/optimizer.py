"""Optimizers of the two parts of the model, and their common schedule."""

from __future__ import annotations

import math
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from gnnrec.config.training_options import OptimizerOptions
from gnnrec.distributed.world import World
from gnnrec.errors import UserError
from gnnrec.models.row_memory import RowMemory
from gnnrec.training.lazy_adam import LazyAdam

#: Parameters of layers past the first.
_UPPER_LAYERS = re.compile(r"encoder\.layers\.[1-9]")
#: State of a parameter in Adam, the only optimizer here that has one.
_ADAM = {"step", "exp_avg", "exp_avg_sq"}
_TRY = "resume from another checkpoint"
#: Adam's epsilon times the targets of a step, if ``eps`` is 0.
EPS_TIMES_TARGETS = 5e-4


def build_optimizer(
    options: OptimizerOptions,
    module: nn.Module,
    targets_a_step: float,
    rates: dict[str, float] | None = None,
    inclusion_probability: Tensor | None = None,
) -> torch.optim.Optimizer:
    """Builds an optimizer over all parameters of ``module``; :func:`set_learning_rate` sets its rate in each step.

    Args:
        options: The optimizer's options.
        module: The replicated part, or this rank's user rows.
        targets_a_step: Mean number of targets of a step over all ranks.
        rates: Ends of parameter names -> factors of their learning rates, see :func:`message_lr_scale`.
        inclusion_probability: Share of the steps that visit each row, float64 ``[rows]``, for sparse gradients.
    """
    groups: dict[float, dict] = {}
    for name, parameter in module.named_parameters():
        rate = options.upper_layer_lr_scale if _UPPER_LAYERS.match(name) else 1.0
        for ending, factor in (rates or {}).items():
            if f".{name}".endswith(f".{ending}"):
                rate *= factor
        groups.setdefault(rate, {"params": [], "rate": rate})["params"].append(parameter)
    if options.name == "sgd":
        return torch.optim.SGD(list(groups.values()), lr=options.lr)
    eps = options.eps or EPS_TIMES_TARGETS / max(targets_a_step, 1.0)
    betas = (options.beta1, options.beta2)
    if inclusion_probability is not None:
        return LazyAdam(list(groups.values()), options.lr, betas, eps, inclusion_probability)
    return torch.optim.Adam(list(groups.values()), lr=options.lr, betas=betas, eps=eps, fused=True)


def place_state(optimizer: torch.optim.Optimizer, memory: RowMemory) -> None:
    """Allocates Adam's moments in a memory of the caller's choice, before the first step."""
    if isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moments = {name: memory.zeros(parameter.shape, parameter.dtype) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.zeros((), dtype=torch.float32)} | moments


def message_lr_scale(options: OptimizerOptions, degrees: Tensor, world: World) -> float:
    """Factor of the learning rate of the embeddings that receivers of these degrees sum over (messages, ratings).

    A receiver adds up ``d`` message embeddings and divides by ``sqrt(d)``. If Adam moves all of them in the same
    direction by the learning rate, the sum moves by ``sqrt(d)`` times that: above some degree, hidden states diverge.

    Args:
        options: The optimizer's options.
        degrees: Message degrees of the receivers of this rank, int64 ``[receivers]``.
        world: The ranks of the other receivers.
    """
    if not options.message_lr_degree:
        return 1.0
    degrees = degrees.to(torch.float64)
    squares, edges = world.all_reduce_sum_(torch.stack([degrees.square().sum(), degrees.sum()])).tolist()
    return min(1.0, math.sqrt(options.message_lr_degree / max(squares / max(edges, 1.0), 1.0)))


def message_lr_scales(movie_scale: float, user_scale: float) -> dict[str, float]:
    """Scales of what messages of movies and of users sum: their embeddings, and rating embeddings."""
    sent = {"movies.": movie_scale, "genres.tables.": movie_scale, "movie_features.tables.": movie_scale}
    sent["user_features.tables."] = user_scale
    names = ("message_embedding", "residual_embedding")
    scales = {f"{owner}{name}": scale for owner, scale in sent.items() for name in names}
    return scales | {"to_users.rating": movie_scale, "to_movies.rating": user_scale}


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of one step, times the factor of each group."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


def learning_rate(options: OptimizerOptions, step: int, total_steps: int) -> float:
    """Learning rate of one step: linear warmup, then constant or a cosine decay to zero.

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
    progress = (step - warmup) / max(total_steps - warmup, 1)
    return options.lr * 0.5 * (1 + math.cos(math.pi * progress))


def optimizer_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """State of an optimizer: ``PARAMETER/NAME`` -> tensor, of the parameter's shape or a scalar."""
    return {
        f"{name}/{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def set_optimizer_state(
    optimizer: torch.optim.Optimizer, module: nn.Module, state: dict[str, Tensor], place: Path
) -> None:
    """Sets the state of an optimizer from :func:`optimizer_state`.

    Args:
        optimizer: The optimizer.
        module: Its parameters.
        state: The state.
        place: The checkpoint that it is from, for the message.

    Raises:
        UserError: A tensor belongs to no parameter, has another shape or type than it, or is missing.
    """
    parameters = dict(module.named_parameters())
    by_parameter: dict[str, dict[str, Tensor]] = {}
    for path, value in state.items():
        name, _, key = path.rpartition("/")
        by_parameter.setdefault(name, {})[key] = value
    optimizer.state.clear()
    for name, values in by_parameter.items():
        parameter = parameters.get(name)
        if parameter is not None and not parameter.numel():  # a rank without users
            continue
        if parameter is None or values.keys() != _ADAM or not _fits(values, parameter):
            raise UserError(f"{place}: the optimizer state of {name} does not fit the model of config.yaml: {_TRY}")
        optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in values.items()}


def _fits(values: dict[str, Tensor], parameter: nn.Parameter) -> bool:
    """Whether Adam's state has the shapes and the type of its parameter."""
    moments = [value for key, value in values.items() if key != "step"]
    same = all((value.shape, value.dtype) == (parameter.shape, parameter.dtype) for value in moments)
    return same and values["step"].dim() == 0 and values["step"].is_floating_point()
