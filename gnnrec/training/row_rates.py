"""Learning rates of rows in a run that continues from another: rows of which little is new move little.

The rows of the other run are at the end of their training. A step of the size that new rows need moves them away from
it, in directions in which their gradients are mostly noise, and a short schedule cannot bring them back.
"""

from __future__ import annotations

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
        self._before: list[tuple[Tensor | None, Tensor]] = []

    def _add(self, parameter: nn.Parameter, rates: Tensor) -> None:
        shape = (-1, *[1] * (parameter.dim() - 1)) if rates.dim() else ()
        self._factors.append((parameter, rates.to(parameter).view(shape)))

    @torch.no_grad()
    def before_step(self) -> None:
        """Remembers what the next step changes: all rows, or those that have gradients."""
        for parameter, _ in self._factors:
            gradient = parameter.grad
            if gradient is not None and gradient.is_sparse:
                rows = gradient.coalesce().indices()[0]
                self._before.append((rows, parameter.index_select(0, rows)))
            else:
                self._before.append((None, parameter.detach().clone()))

    @torch.no_grad()
    def after_step(self) -> None:
        """Takes back from each row the share of its change that its factor leaves out."""
        for (parameter, factor), (rows, before) in zip(self._factors, self._before):
            if rows is None:
                parameter.copy_(torch.lerp(before, parameter, factor))
            else:
                parameter.index_copy_(0, rows, torch.lerp(before, parameter.index_select(0, rows), factor[rows]))
        self._before.clear()
