"""Copies of all weights of a rank."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from gnnrec.models.tables import NodeTables, NoTables


@dataclasses.dataclass(frozen=True)
class Weights:
    """A copy of the weights.

    Attributes:
        model: State of the replicated part.
        users: This rank's user rows.
    """

    model: dict[str, Tensor]
    users: dict[str, Tensor]

    @staticmethod
    def copy_of(model: nn.Module, users: NodeTables | NoTables) -> Weights:
        """Copies the current weights."""
        return Weights(*(_copied(tensors) for tensors in _tensors(model, users)))

    @torch.no_grad()
    def restore(self, model: nn.Module, users: NodeTables | NoTables) -> None:
        """Copies them back into the model and the user rows."""
        for saved, current in zip((self.model, self.users), _tensors(model, users)):
            for name, value in current.items():
                value.copy_(saved[name])


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies tensors of one device; on a GPU together."""
    values = [value.detach() for value in tensors.values()]
    copies = [torch.empty_like(value) for value in values]
    if copies:
        torch._foreach_copy_(copies, values)
    return dict(zip(tensors, copies))


def _tensors(model: nn.Module, users: NodeTables | NoTables) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return model.state_dict(), users.tables()
