"""Options of the optimizer, of regularization, of checkpoints and of trackers."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from gnnrec.utils.bounds import bounded


@dataclasses.dataclass
class OptimizerOptions:
    """The optimizer and its schedule.

    Args:
        name: Optimizer.
        lr: Peak learning rate; by default 0.01 for ratings (0.006 with --init-from), and 2e-4 or 3e-3 for rankings
            from a closed-form or a random start.
        beta1: Decay of Adam's first moment.
        beta2: Decay of Adam's second moment.
        eps: Adam's epsilon. The rule is 5e-4 divided by the targets of a step, so that rarely seen rows do not freeze
            as data grows.
        message_lr_degree: Mean degree of receivers, over ratings, up to which message embeddings learn at the full
            rate; past it their rate falls with the square root of that mean.
        upper_layer_lr_scale: Factor of the learning rate of layers past the first. They start at zero, and full-rate
            Adam steps would make them noise to the first layer.
        warmup_steps: Steps over which the learning rate rises from zero; by default 50 for ratings (0 with
            --init-from), 0 for rankings.
        schedule: Learning rate after the warmup: cosine (to zero at the end of the last epoch) or constant.
        epochs: Epochs, each of which supervises every training rating once; by default 20 for ratings (2 with
            --init-from), and 8 or 20 for rankings from a closed-form or a random start.
        patience: Validations in a row that are not better than the best one, after which training stops early. The
            schedule is not shortened: cosine still falls to zero at the end of the last planned epoch.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float | None = bounded(None, above=0)
    beta1: float = bounded(0.9, least=0, below=1)
    beta2: float = bounded(0.99, least=0, below=1)
    eps: float = bounded(0.0, least=0, meaning="chosen by rule")
    message_lr_degree: float = bounded(50.0, least=0, meaning="never slower")
    upper_layer_lr_scale: float = bounded(0.03, least=0, meaning="upper layers do not learn")
    warmup_steps: int | None = bounded(None, least=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    epochs: int | None = bounded(None, least=1)
    patience: int = bounded(0, least=0, meaning="never early")

    def filled(self, defaults: dict[str, Any]) -> OptimizerOptions:
        """A copy in which options that are None have the values of ``defaults``."""
        missing: dict[str, Any] = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)


#: Defaults that depend on the objective; for rankings also on the start.
RATING_DEFAULTS = {"lr": 0.01, "warmup_steps": 50, "epochs": 20}
#: Defaults of rating runs that continue from another run.
CONTINUED_DEFAULTS = {"lr": 0.006, "warmup_steps": 0, "epochs": 2}
RANKING_DEFAULTS = {
    "closed_form": {"lr": 2e-4, "warmup_steps": 0, "epochs": 8},
    "random": {"lr": 3e-3, "warmup_steps": 0, "epochs": 20},
}


@dataclasses.dataclass
class RegularizationOptions:
    """L2 in the loss: ``strength * degree ** degree_power / training ratings * |row|^2`` plus the mean squared error.

    Where ratings are few, ids and messages have more.

    Args:
        ids: L2 of id embeddings.
        messages: L2 of message embeddings and rating embeddings.
        biases: L2 of learned biases.
        degree_power: Exponent of the degree of a row's user or movie; rating and genre rows take their number of
            ratings.
        sparse_degree: Mean training ratings of a user or movie, of those with any, below which the L2 of ids and
            messages grows in inverse proportion, to 3 times at most.
    """

    ids: float = bounded(300.0, least=0)
    messages: float = bounded(120.0, least=0)
    biases: float = bounded(100.0, least=0)
    degree_power: float = -0.25
    sparse_degree: float = bounded(16.0, least=0, meaning="the same L2 for all data")


@dataclasses.dataclass
class CheckpointOptions:
    """Checkpoints, besides those at the end of the run and at every stop.

    Args:
        every_steps: Steps between checkpoints.
        every_minutes: Minutes between checkpoints.
        keep: Checkpoints to keep, besides the best one.
    """

    every_steps: int = bounded(0, least=0, meaning="left to the clock")
    every_minutes: float = bounded(5.0, least=0, meaning="left to the steps")
    keep: int = bounded(2, least=1)


@dataclasses.dataclass
class WandbOptions:
    """Weights & Biases.

    Args:
        mode: Weights & Biases mode: offline (files in the run directory, for wandb sync), online, or disabled (wandb
            need not be installed).
        project: Project of the run.
        entity: Team or user that owns the run; by default your own.
        name: Name of the run; by default the name of the run directory.
        group: Group of the run, such as the seeds of one configuration.
        tags: Tags of the run.
        upload_checkpoints: Upload the weights of the best checkpoint; false uploads only their description and path.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "gnnrec"
    entity: str = ""
    name: str = ""
    group: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)
    upload_checkpoints: bool = False


@dataclasses.dataclass
class MlflowOptions:
    """MLflow.

    Args:
        uri: Tracking server of MLflow, such as http://127.0.0.1:5000, or its database, such as sqlite:///mlflow.db; by
            default the run is not tracked there.
        experiment: Experiment of the run.
        name: Name of the run; by default the name of the run directory.
    """

    uri: str = ""
    experiment: str = "gnnrec"
    name: str = ""
