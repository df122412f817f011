"""The closed form of a ranking run, fitted again with the validation users once everything is chosen and measured."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from torch import Tensor

from gnnrec.models.ranking_model import RankingModel
from gnnrec.training.checkpoint.info import FINAL


@dataclasses.dataclass(frozen=True)
class FinalFit:
    """The model of recommendations, exports and test metrics; validation metrics are those of the best weights.

    Attributes:
        model: The model.
        users: Users that it is fitted on.
    """

    model: RankingModel
    users: int
    stem: ClassVar[str] = FINAL

    def chosen(self) -> dict[str, float]:
        """Returns the number of users, for the summary."""
        return {"final_users": self.users}

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint."""
        return {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
