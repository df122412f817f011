"""Search spaces for each objective: parameters that set training options."""

from __future__ import annotations

import copy
import dataclasses

from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A number to search.

    Attributes:
        name: Name in tables of trials.
        options: Dotted names of the options that it sets.
        low: Lowest value.
        high: Highest value.
        multiple: Whether options are multiplied by the number, which is then log-uniform; otherwise they are set to it,
            and it is uniform.
    """

    name: str
    options: tuple[str, ...]
    low: float
    high: float
    multiple: bool = True

    def start(self, base: TrainConfig) -> float:
        """Returns the value that leaves ``base`` unchanged."""
        return 1.0 if self.multiple else float(base.value(self.options[0]))

    def within(self, base: TrainConfig) -> tuple[float, float]:
        """Returns the lowest and highest value, extended to include the start."""
        start = self.start(base)
        return min(self.low, start), max(self.high, start)


_STRENGTHS = ("regularization.ids", "regularization.messages", "regularization.biases")
_RATE = Parameter("lr", ("optimizer.lr",), 0.25, 4.0)

#: Objective -> name of a space -> its parameters.
SPACES: dict[str, dict[str, tuple[Parameter, ...]]] = {
    "rating": {
        "regularization": (
            Parameter("strength", _STRENGTHS, 0.1, 10.0),
            Parameter("messages", ("regularization.messages",), 0.25, 4.0),
            Parameter("dropout", ("model.dropout",), 0.0, 0.5, multiple=False),
            Parameter("message_dropout", ("model.message_dropout",), 0.0, 0.6, multiple=False),
        ),
        "optimizer": (_RATE,),
    },
    # L2 and the popularity exponent are missing: every run chooses them on validation itself.
    "ranking": {
        "regularization": (
            Parameter("dropout", ("ranking.dropout",), 0.2, 0.9, multiple=False),
            Parameter("user_power", ("ranking.user_power",), -1.0, 0.0, multiple=False),
        ),
        "optimizer": (_RATE,),
    },
}


def parameters(base: TrainConfig, space: str) -> tuple[Parameter, ...]:
    """Returns the parameters of one space, or of ``all``, for the objective of a resolved configuration.

    Raises:
        UserError: An unknown space.
    """
    spaces = SPACES[base.objective]
    if space == "all":
        return tuple(parameter for part in spaces.values() for parameter in part)
    if space not in spaces:
        raise UserError(f"--space {space}: choose one of {', '.join(spaces)} or all")
    return spaces[space]


def apply(base: TrainConfig, chosen: tuple[Parameter, ...], values: dict[str, float]) -> TrainConfig:
    """Returns a copy of ``base`` with the options that parameters set."""
    config = copy.deepcopy(base)
    for parameter in chosen:
        for option in parameter.options:
            part, _, field = option.rpartition(".")
            owner = config.value(part) if part else config
            value = values[parameter.name]
            setattr(owner, field, getattr(owner, field) * value if parameter.multiple else value)
    config.check()
    return config
