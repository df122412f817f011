"""Options of the optimizer, of regularization and of checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass
class OptimizerOptions:
    """The optimizer and its schedule.

    Args:
        name: adam or sgd.
        lr: Learning rate at its peak; by default 0.01 for ratings, and 2e-4 or 3e-3 for rankings from a closed-form or
            a random start.
        beta1: Decay of Adam's first moment.
        beta2: Decay of Adam's second moment.
        eps: Adam's epsilon; 0 chooses 5e-4 over the targets of a step, so that rarely seen rows do not freeze as data
            grows.
        message_lr_degree: Mean degree of receivers, over ratings, up to which source tables learn at the full rate;
            past it their rate falls with the root of that mean. 0 never slows them.
        upper_layer_lr_scale: Factor of the learning rate of layers past the first. They begin as nothing, and what
            Adam moves them by at the full rate is noise to the first layer.
        warmup_steps: Steps over which the learning rate rises from zero; by default 50 for ratings, 0 for rankings.
        schedule: cosine (to zero at the end of the last epoch) or constant.
        epochs: Epochs; each supervises every training rating once. By default 20 for ratings and 8 or 20 for rankings
            from a closed-form or a random start.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float | None = None
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 0.0
    message_lr_degree: float = 50.0
    upper_layer_lr_scale: float = 0.03
    warmup_steps: int | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    epochs: int | None = None

    def filled(self, defaults: dict[str, Any]) -> OptimizerOptions:
        """A copy in which what was left open has the values of ``defaults``."""
        open_ones: dict[str, Any] = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **open_ones)


#: What follows from the objective where nobody chose; for rankings also from the start.
RATING_DEFAULTS = {"lr": 0.01, "warmup_steps": 50, "epochs": 20}
RANKING_DEFAULTS = {
    "closed_form": {"lr": 2e-4, "warmup_steps": 0, "epochs": 8},
    "random": {"lr": 3e-3, "warmup_steps": 0, "epochs": 20},
}


@dataclasses.dataclass
class RegularizationOptions:
    """Coupled L2: ``strength * degree ** degree_power / training ratings * |row|^2``, added to the mean squared error.

    Args:
        ids: Strength on id embeddings.
        messages: Strength on message embeddings and rating embeddings.
        biases: Strength on learned biases.
        degree_power: Exponent of the degree of a row's user or movie; rating and genre rows take their number of
            ratings.
    """

    ids: float = 300.0
    messages: float = 120.0
    biases: float = 100.0
    degree_power: float = -0.25


@dataclasses.dataclass
class CheckpointOptions:
    """When a run is saved, beside its end and every stop.

    Args:
        every_steps: Steps between checkpoints; 0 leaves it to the clock.
        every_minutes: Minutes between checkpoints; 0 leaves it to the number of steps.
        keep: CheckpointManager to keep, beside the best one.
    """

    every_steps: int = 0
    every_minutes: float = 5.0
    keep: int = 2


@dataclasses.dataclass
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: offline (files in the run directory, for wandb sync), online, or disabled (wandb need not be installed).
        project: Project.
        entity: Team or user; empty for the default one.
        name: Name of the run; empty takes the name of the run directory.
        group: Group that the run belongs to, such as the seeds of one setting; empty for none.
        tags: Tags of the run: one or several words.
        upload_checkpoints: Put the weights of the best checkpoint into its artifact, not only a description and where
            they are.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "gnnrec"
    entity: str = ""
    name: str = ""
    group: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    upload_checkpoints: bool = False
