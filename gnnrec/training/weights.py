"""A copy of all weights of a rank."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.models.tables import NodeTables, NoTables


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights as they were.

    Attributes:
        model: State of the replicated part.
        users: This rank's user rows.
    """

    model: dict[str, Tensor]
    users: dict[str, Tensor]

    @staticmethod
    def of(model: nn.Module, users: NodeTables | NoTables) -> Weights:
        """Copies the present weights."""
        copies = [{name: value.detach().clone() for name, value in each.items()} for each in _tensors(model, users)]
        return Weights(*copies)

    @torch.no_grad()
    def put_into(self, model: nn.Module, users: NodeTables | NoTables) -> None:
        """Makes them the present weights again."""
        for kept, present in zip((self.model, self.users), _tensors(model, users)):
            for name, value in present.items():
                value.copy_(kept[name])


def _tensors(model: nn.Module, users: NodeTables | NoTables) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return model.state_dict(), users.tables()
