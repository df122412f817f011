"""Orders of a rank's edges for sums over movies without atomic additions, and blocks of its users, on GPUs."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from torch import Tensor

from gnnrec.kernels.ragged import transpose


@dataclasses.dataclass(frozen=True)
class MovieOrder:
    """Edges sorted by movie, then half-width bin of time if there are any, then user.

    Attributes:
        movie_pointer: Start of the edges of each movie, int64 ``[movies + 1]``.
        cell_pointer: Start of the edges of each cell (:attr:`gnnrec.kernels.edges.EdgeTimeBins.cell`), int64
            ``[cells + 1]``; None in models without time.
        cell_movie: Movie of each cell, int32 ``[cells]``; None in models without time.
        order: Position by user of each edge, int32 or int64 ``[edges]``.
        user: User row of each edge, int32 or int64 ``[edges]``.
    """

    movie_pointer: Tensor
    cell_pointer: Tensor | None
    cell_movie: Tensor | None
    order: Tensor
    user: Tensor


class EdgeOrders:
    """Orders of edges that are the same in all epochs. Each is computed on first use and then kept.

    Args:
        pointer: Start of the edges of each user, int64 ``[users + 1]``.
        movie: int32 ``[edges]``.
        movies: Number of movies.
        cell: Cell of each edge, int32 ``[edges]``; None in models without time.
        rated_years: Each cell's position in a table ``[movies, width]``, int64 ``[cells]``, ascending, or None.
        width: Half-width bins of a movie.
    """

    def __init__(
        self,
        pointer: Tensor,
        movie: Tensor,
        movies: int,
        cell: Tensor | None = None,
        rated_years: Tensor | None = None,
        width: int = 1,
    ):
        self._pointer, self._movie, self._movies = pointer, movie, movies
        self._cell, self._rated_years, self._width = cell, rated_years, width
        self._blocks: dict[int, list[tuple[range, range]]] = {}

    @cached_property
    def by_movie(self) -> MovieOrder:
        """Edges sorted by movie: 8 bytes an edge."""
        if self._cell is None or self._rated_years is None:
            pointer, order, user = transpose(self._pointer, self._movie, self._movies)
            return MovieOrder(pointer, None, None, order, user)
        cells, order, user = transpose(self._pointer, self._cell, self._rated_years.numel())
        first_bin = torch.arange(self._movies + 1, device=cells.device) * self._width
        pointer = cells[torch.searchsorted(self._rated_years, first_bin)]
        movie = torch.div(self._rated_years, self._width, rounding_mode="floor").to(torch.int32)
        return MovieOrder(pointer, cells, movie, order, user)

    def user_blocks(self, most: int) -> list[tuple[range, range]]:
        """Splits users into blocks of at most ``most`` edges; a user with more is a block alone.

        Args:
            most: Edges.

        Returns:
            Users and edges of each block. The host waits for the device once if there are several.
        """
        users, edges = self._pointer.numel() - 1, self._movie.numel()
        if edges <= most:
            return [(range(users), range(edges))]
        if most not in self._blocks:
            starts, blocks, first = self._pointer.cpu(), [], 0
            while first < users:
                fits = int(torch.searchsorted(starts, starts[first] + most, right=True)) - 1
                end = min(max(fits, first + 1), users)
                blocks.append((range(first, end), range(int(starts[first]), int(starts[end]))))
                first = end
            self._blocks[most] = blocks
        return self._blocks[most]
