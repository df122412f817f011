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
    @torch.no_grad()
    def copy_of(model: nn.Module, users: NodeTables | NoTables) -> Weights:
        """Copies the current weights."""
        current = _tensors(model, users)
        copies = [{name: torch.empty_like(value) for name, value in tensors.items()} for tensors in current]
        for copy, tensors in zip(copies, current):
            _copy(copy, tensors)
        return Weights(*copies)

    @torch.no_grad()
    def restore(self, model: nn.Module, users: NodeTables | NoTables) -> None:
        """Copies them back into the model and the user rows."""
        for saved, current in zip((self.model, self.users), _tensors(model, users)):
            _copy(current, saved)


def _tensors(model: nn.Module, users: NodeTables | NoTables) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return model.state_dict(), users.tables()


def _copy(targets: dict[str, Tensor], sources: dict[str, Tensor]) -> None:
    """Copies tensors into those of the same names, with few kernels on a GPU."""
    torch._foreach_copy_(list(targets.values()), [sources[name] for name in targets])
