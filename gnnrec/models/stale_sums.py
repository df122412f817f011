"""Sums of one layer at older parameters in both directions, for :mod:`gnnrec.models.control_variate`."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gnnrec.models.conv import StaleLayer


@dataclasses.dataclass(frozen=True)
class StaleSums:
    """One layer in both directions at older parameters.

    Attributes:
        to_users: Messages to the users of this rank.
        to_movies: Messages to all movies.
    """

    to_users: StaleLayer
    to_movies: StaleLayer

    def for_users(self, users: Tensor | None) -> StaleSums:
        """Selects the users of a batch (local rows, int64 ``[users]``); None for all."""
        if users is None:
            return self
        to_users, to_movies = self.to_users, self.to_movies
        return StaleSums(
            dataclasses.replace(
                to_users,
                receiver=to_users.receiver[users],
                whole=to_users.whole.rows(users),
                shift=None if to_users.shift is None else to_users.shift[users],
            ),
            dataclasses.replace(to_movies, inputs=to_movies.inputs.rows(users)),
        )
