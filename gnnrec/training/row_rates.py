"""Learning rates of rows in a run that continues from another: rows of which little is new move little.

The rows of the other run are at the end of their training. A step of the size that new rows need moves them away from
it, in directions in which their gradients are mostly noise, and a short schedule cannot bring them back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gnnrec.graph.partition import Partition
from gnnrec.training.kept_rows import KeptRows, RowCounts

#: Least factor of a row's learning rate, and that of weights without rows of users or movies.
LEAST = 0.1


def row_rates(counts: RowCounts) -> Tensor:
    """Factors of the learning rates of rows: the square root of the share of their ratings that is new.

    Args:
        counts: Training ratings of the rows.

    Returns:
        Float32 ``[rows]``, from :data:`LEAST` to 1, which rows without ratings have.
    """
    ratings, new = torch.tensor(counts.ratings), torch.tensor(counts.new)
    share = torch.where(ratings > 0, new / ratings.clamp(min=1), 1.0)
    return share.sqrt().clamp(LEAST, 1.0).float()


class RowRates:
    """Scales what a step of the optimizers changes, row by row.

    Args:
        replicated: The replicated part of the model.
        users: This rank's user rows.
        part: The users of this rank.
        rows: Rows of all users and movies, counted.
    """

    def __init__(self, replicated: nn.Module, users: nn.Module, part: Partition, rows: KeptRows):
        of_user, of_movie = (row_rates(rows.counts[node]) for node in ("user", "movie"))
        self._factors: list[tuple[nn.Parameter, Tensor]] = []
        for parameter in users.parameters():
            self._add(parameter, of_user[part.start : part.stop])
        for name, parameter in replicated.named_parameters():
            if parameter.requires_grad:
                self._add(parameter, of_movie if name.startswith("movies.") else torch.full((), LEAST))

    def _add(self, parameter: nn.Parameter, rates: Tensor) -> None:
        shape = (-1, *[1] * (parameter.dim() - 1)) if rates.dim() else ()
        self._factors.append((parameter, rates.to(parameter).view(shape)))

    @contextlib.contextmanager
    def scaled(self) -> Iterator[None]:
        """Takes back from each row the share of its change in this block that its factor leaves out."""
        befores = [_rows(parameter) for parameter, _ in self._factors]
        yield
        with torch.no_grad():
            for (parameter, factor), (rows, before) in zip(self._factors, befores):
                if rows is None:
                    parameter.copy_(torch.lerp(before, parameter, factor))
                else:
                    parameter.index_copy_(0, rows, torch.lerp(before, parameter[rows], factor[rows]))


def _rows(parameter: nn.Parameter) -> tuple[Tensor | None, Tensor]:
    """Copies what a step changes: the rows with gradients, and their numbers; None and all rows if all have some."""
    gradient = parameter.grad
    if gradient is None or not gradient.is_sparse:
        return None, parameter.detach().clone()
    rows = gradient.coalesce().indices()[0]
    return rows, parameter.detach()[rows]
