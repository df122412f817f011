"""Edges for tests of kernels, and their statistics in plain loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from gnnrec.kernels.edge_orders import EdgeOrders
from gnnrec.kernels.edges import Edges, EdgeTimeBins, TimeBins
from gnnrec.kernels.statistics import time_bins

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}
MOVIES, FOLDS, LEVELS, LATEST = 7, 4, 10, 1000
WINDOWS = TimeBins(
    movie_half_width=60,
    num_movie_half_bins=LATEST // 60 + 1,
    movie_shrinkage=7.0,
    user_half_widths=(20, 3),
    user_shrinkages=(5.0, 1.5),
)


@dataclasses.dataclass(frozen=True)
class Edge:
    """One rating."""

    user: int
    movie: int
    rating: float
    level: int
    fold: int
    time: int


def some_edges(seed: int = 0) -> tuple[list[list[Edge]], list[Edge]]:
    """Returns the edges of each user sorted by time, and all edges; some users have none, one has most."""
    random = np.random.default_rng(seed)
    users = []
    for user, count in enumerate([3, 0, 1, 90, 12, 0, 7, 25, 2, 0]):
        # Sessions of a few ratings, some of them adjacent.
        start = random.choice([0, 30, 41, 500, 900], count)
        time = np.sort(np.minimum(start + random.integers(0, 25, count), LATEST))
        rated = [
            Edge(user, int(random.integers(MOVIES - 1)), 0.5 + 0.5 * level, level, int(random.integers(FOLDS)), int(t))
            for level, t in zip(random.integers(0, LEVELS, count).tolist(), time)
        ]
        users.append(rated)
    return users, [edge for rated in users for edge in rated]


def pointer_of(lists: list[list]) -> torch.Tensor:
    return torch.tensor([0, *np.cumsum([len(entries) for entries in lists])], dtype=torch.int64)


def as_tensors(users: list[list[Edge]], dtype: torch.dtype, bins: EdgeTimeBins | None = None) -> Edges:
    """Converts edges to the arguments of kernels; computes half-width bins by default."""
    every = [edge for rated in users for edge in rated]
    column = {name: [getattr(edge, name) for edge in every] for name in ("movie", "rating", "level", "fold", "time")}
    time, movie = torch.tensor(column["time"], dtype=torch.int32), torch.tensor(column["movie"], dtype=torch.int32)
    bins = _bins_of(every, pointer_of(users), time) if bins is None else bins
    width = WINDOWS.num_movie_half_bins
    rated_years = torch.tensor([movie * width + year for movie, year in cells_of(every)], dtype=torch.int64)
    return Edges(
        pointer=pointer_of(users),
        movie=movie,
        rating=torch.tensor(column["rating"], dtype=dtype),
        level=torch.tensor(column["level"], dtype=torch.uint8),
        bins=bins,
        fold=torch.tensor(column["fold"], dtype=torch.uint8),
        movies=MOVIES,
        orders=EdgeOrders(pointer_of(users), movie, MOVIES, bins.cell, rated_years, width),
    )


def cells_of(every: list[Edge]) -> list[tuple[int, int]]:
    """Returns the movies and half-width bins that have a rating, ascending."""
    return sorted({(edge.movie, edge.time // WINDOWS.movie_half_width) for edge in every})


def _bins_of(every: list[Edge], pointer: torch.Tensor, time: torch.Tensor) -> EdgeTimeBins:
    number = {cell: place for place, cell in enumerate(cells_of(every))}
    cell = [number[edge.movie, edge.time // WINDOWS.movie_half_width] for edge in every]
    return EdgeTimeBins(torch.tensor(cell, dtype=torch.int32), time_bins(pointer, time, WINDOWS)[1])


def shared_bins(first: int, second: int, half: int) -> int:
    """Counts the grids, 0 to 2, in which two times share a bin; ``half`` is the half width and the shift."""
    return sum((first + shift) // (2 * half) == (second + shift) // (2 * half) for shift in (0, half))


def effects(every: list[Edge], left: list[float], side: str, half: int, shrinkage: float, excluded: int) -> list[float]:
    """Computes for each edge the shrunken mean over the other message edges of its row, weighted by shared bins."""
    actual = []
    for edge in every:
        total, count = 0.0, shrinkage
        for other, residual in zip(every, left):
            if other is not edge and getattr(other, side) == getattr(edge, side) and other.fold != excluded:
                shared = shared_bins(edge.time, other.time, half)
                total, count = total + shared * residual, count + shared
        actual.append(total / count)
    return actual


def assert_near(actual: torch.Tensor, expected, dtype: torch.dtype) -> None:
    expected = torch.as_tensor(np.array(expected, dtype=np.float64)).view(actual.shape)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
