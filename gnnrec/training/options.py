"""Options of the optimizer and of regularisation."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass
class OptimizerOptions:
    """The optimizer and its schedule.

    Args:
        name: adam or sgd.
        lr: Learning rate at its peak.
        beta1: Decay of Adam's first moment.
        beta2: Decay of Adam's second moment.
        eps: Adam's epsilon; 0 chooses 5e-4 over the targets of a step, so that rarely seen rows do not freeze as data
            grows.
        full_rate_degree: Mean degree of receivers, over ratings, up to which source tables learn at the full rate; past
            it their rate falls with the root of that mean. 0 never slows them.
        warmup_steps: Steps over which the learning rate rises from zero.
        schedule: cosine (to zero at the end of the last epoch) or constant.
        epochs: Epochs; each supervises every training rating once.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 0.0
    full_rate_degree: float = 50.0
    warmup_steps: int = 50
    schedule: Literal["cosine", "constant"] = "cosine"
    epochs: int = 20


@dataclasses.dataclass
class RegularisationOptions:
    """Coupled L2: ``strength * degree ** degree_power / training ratings * |row|^2``, added to the mean squared error.

    Args:
        ids: Strength on id embeddings.
        sources: Strength on source tables and rating embeddings.
        biases: Strength on learned biases.
        degree_power: Exponent of the degree of a row's user or movie; rating and genre rows take their number of
            ratings.
    """

    ids: float = 750.0
    sources: float = 300.0
    biases: float = 25.0
    degree_power: float = -0.25
