"""What is searched, for each objective: a table of parameters, each of which sets options of training."""

from __future__ import annotations

import copy
import dataclasses

from gnnrec.config.train_config import TrainConfig
from gnnrec.errors import UserError


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One number of the search.

    Attributes:
        name: As trials show it.
        options: Dotted names of the options it sets.
        low: Lowest value.
        high: Highest value.
        multiple: The options are multiplied by the number, which is drawn log-uniformly; otherwise they are set to it,
            and it is drawn uniformly.
    """

    name: str
    options: tuple[str, ...]
    low: float
    high: float
    multiple: bool = True

    def start(self, base: TrainConfig) -> float:
        """The value that leaves ``base`` as it is."""
        return 1.0 if self.multiple else float(base.value(self.options[0]))

    def within(self, base: TrainConfig) -> tuple[float, float]:
        """Lowest and highest value, so that the start is between them."""
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
    # The strength of L2 and the discount of popularity are not here: every run chooses them on validation itself.
    "ranking": {
        "regularization": (
            Parameter("dropout", ("ranking.dropout",), 0.2, 0.9, multiple=False),
            Parameter("user_power", ("ranking.user_power",), -1.0, 0.0, multiple=False),
        ),
        "optimizer": (_RATE,),
    },
}


def parameters(base: TrainConfig, space: str) -> tuple[Parameter, ...]:
    """The parameters of one space, or of ``all``, for the objective of ``base``, which is settled.

    Raises:
        UserError: There is no such space.
    """
    spaces = SPACES[base.objective]
    if space == "all":
        return tuple(parameter for part in spaces.values() for parameter in part)
    if space not in spaces:
        raise UserError(f"--space {space}: choose one of {', '.join(spaces)} or all")
    return spaces[space]


def apply(base: TrainConfig, chosen: tuple[Parameter, ...], values: dict[str, float]) -> TrainConfig:
    """``base`` with the options that the values of some parameters set."""
    config = copy.deepcopy(base)
    for parameter in chosen:
        for option in parameter.options:
            part, _, field = option.rpartition(".")
            owner = config.value(part) if part else config
            value = values[parameter.name]
            setattr(owner, field, getattr(owner, field) * value if parameter.multiple else value)
    config.check()
    return config
