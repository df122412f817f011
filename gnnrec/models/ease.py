"""EASE on the ratings of all ranks: movie-to-movie weights in closed form, and tables that approximate them.

Steck, "Embarrassingly shallow autoencoders for sparse data" (WWW 2019): ``B`` minimizes
``|X - X B|^2 + l2 |B|^2`` with zero diagonal. ``B = I - P diag(1 / P_jj)`` with ``P = inv(X'X + l2 I)``. Where users
are few, ``P`` follows from an inverse over pairs of users (Woodbury's identity):
``P = (I - X' inv(X X' + l2 I) X) / l2``.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gnnrec.distributed.world import World
from gnnrec.graph.interactions import Interactions, select_edges
from gnnrec.kernels.ragged import offsets, owners
from gnnrec.models.closed_form import item_weights
from gnnrec.models.closed_form_start import ItemModel
from gnnrec.models.gram import weighted_gram
from gnnrec.models.neighbors import cosine_neighbors

#: The inverse is over users if movies are at least this many times as many, and ``X`` has at most so many elements.
MOVIES_PER_USER, ELEMENTS = 2, 50_000_000


class ItemScores(Protocol):
    """Linear scores of movies from the movies that users have rated."""

    def scores(self, rated: Interactions) -> Tensor:
        """Computes ``x B`` for the movies that users have rated, float ``[users, movies]``; no collective."""


class Ease(ItemScores, Protocol):
    """Solution for one L2 strength."""

    def tables(self, dim: int) -> tuple[Tensor, Tensor]:
        """Computes ``B V`` and ``V``, float ``[movies, dim]``, on rank 0.

        ``V`` are the first ``dim`` right singular vectors of ``X B``: ``x B V V'`` is the best approximation of this
        rank to the scores of the users that were fitted. Columns beyond the rank of ``X B`` are zero.
        """


class EaseProblem(Protocol):
    """Ratings of all ranks, for which EASE is solved with any L2 strength. Every rank makes the same calls."""

    def solve(self, l2: float) -> Ease:
        """Solves for one strength."""

    def neighbors(self, count: int) -> ItemScores:
        """Returns the scores of item-kNN on the same ratings, see :mod:`gnnrec.models.neighbors`."""


def is_by_users(users: int, movies: int) -> bool:
    """Returns whether an inverse over users is cheaper than one over movies, and their matrix small."""
    return MOVIES_PER_USER * users <= movies and users * movies <= ELEMENTS


def ease_problem(
    rated: Interactions, num_movies: int, world: World, most: int | None = None, dtype: torch.dtype | None = None
) -> EaseProblem:
    """Sums the ratings of all ranks for EASE; every rank calls this.

    Memory grows with the square of the movies and time with their cube. Movies that are left out have no weights, as
    those without ratings.

    Args:
        rated: Ratings of this rank's users; they count with their weights, and their values do not matter.
        num_movies: Movies of the dataset.
        world: The ranks.
        most: Number of movies to solve for, the most rated ones; None for all.
        dtype: Type of a matrix over movies; None for that of :func:`gnnrec.models.gram.weighted_gram`.
    """
    movies = RatedMovies.most_rated(rated, num_movies, world, most)
    active = int(world.all_reduce_scalar(int((rated.user_ptr.diff() > 0).sum())))
    size = movies.row.numel()
    if is_by_users(active, size):
        return _ByUsers(_gathered(movies.only(rated), world), movies)
    return _ByMovies(weighted_gram(movies.only(rated), size, None, world, dtype), movies, world)


@dataclasses.dataclass(frozen=True)
class RatedMovies:
    """The movies that have weights, among all of a dataset.

    Attributes:
        row: Their rows, int64 ``[n]``, ascending.
        num_movies: Movies of the dataset.
    """

    row: Tensor
    num_movies: int

    @staticmethod
    def most_rated(rated: Interactions, num_movies: int, world: World, most: int | None) -> RatedMovies:
        """Returns the most rated movies over all ranks, of those with ratings; every rank calls this.

        Args:
            rated: Ratings of this rank's users.
            num_movies: Movies of the dataset.
            world: The ranks.
            most: Number of movies; None for all that have ratings.
        """
        counts = world.all_reduce_sum_(torch.bincount(rated.movie, minlength=num_movies))
        by_count = counts.argsort(descending=True, stable=True)[: int((counts > 0).sum())]
        return RatedMovies(by_count[:most].sort().values, num_movies)

    def only(self, rated: Interactions) -> Interactions:
        """Numbers movies among these, and removes the ratings of all others."""
        return select_movies(rated, self.row, self.num_movies)

    def expand(self, values: Tensor, dim: int) -> Tensor:
        """Inserts zeros for all other movies along a dimension."""
        shape = list(values.shape)
        shape[dim] = self.num_movies
        return values.new_zeros(shape).index_copy_(dim, self.row, values)


def select_movies(rated: Interactions, movies: Tensor, num_movies: int) -> Interactions:
    """Keeps the ratings of some movies, which are numbered by their position.

    Args:
        rated: Ratings of some users.
        movies: Rows of the movies, int64 ``[n]``, ascending.
        num_movies: Movies of the dataset.
    """
    column = torch.full((num_movies,), -1, dtype=torch.int32, device=movies.device)
    column[movies] = torch.arange(movies.numel(), dtype=torch.int32, device=movies.device)
    numbered = dataclasses.replace(rated, movie=column[rated.movie])
    return select_edges(numbered, numbered.movie >= 0)


@dataclasses.dataclass(frozen=True)
class _ByMovies:
    """Gram matrix of movies with ratings."""

    gram: Tensor
    movies: RatedMovies
    world: World

    def solve(self, l2: float) -> _EaseOfMovies:
        weights = self.gram.clone() if self.world.is_main else torch.zeros_like(self.gram)

        def invert() -> None:
            item_weights(weights, torch.full((len(weights),), l2))

        self.world.run_on_rank0(invert)  # ranks would differ by rounding
        weights = self.world.all_reduce_sum_(weights)
        return _EaseOfMovies(weights, self.movies, self.gram)

    def neighbors(self, count: int) -> _WeightsOfMovies:
        return _WeightsOfMovies(cosine_neighbors(self.gram, count), self.movies)


@dataclasses.dataclass(frozen=True)
class _WeightsOfMovies:
    weights: Tensor
    movies: RatedMovies

    def scores(self, rated: Interactions) -> Tensor:
        return self.movies.expand(self.movies.only(rated).sums(self.weights), 1)


@dataclasses.dataclass(frozen=True)
class _EaseOfMovies(_WeightsOfMovies):
    gram: Tensor

    def tables(self, dim: int) -> tuple[Tensor, Tensor]:
        return ItemModel(self.gram, self.weights, self.movies.row, self.movies.num_movies).tables(dim)


class _ByUsers:
    """Ratings of all users as a dense matrix.

    Args:
        rated: Ratings of the users of all ranks.
        movies: The movies that have ratings.
    """

    def __init__(self, rated: Interactions, movies: RatedMovies):
        self.movies = movies
        self.matrix = _dense(rated, movies.row.numel())
        self.products = self.matrix @ self.matrix.T

    def solve(self, l2: float) -> _WeightsOfUsers:
        inverse = torch.linalg.inv(self.products + l2 * torch.eye(len(self.products)).to(self.products))
        return _WeightsOfUsers(self.matrix, inverse, l2, self.movies)

    def neighbors(self, count: int) -> _WeightsOfMovies:
        return _WeightsOfMovies(cosine_neighbors((self.matrix.T @ self.matrix).float(), count), self.movies)


class _WeightsOfUsers:
    """``B`` as a function of vectors, without its matrix.

    Args:
        matrix: ``X``, float64 ``[users, n]``.
        inverse: ``inv(X X' + l2 I)``, float64 ``[users, users]``.
        l2: The strength.
        movies: The movies that have ratings.
    """

    def __init__(self, matrix: Tensor, inverse: Tensor, l2: float, movies: RatedMovies):
        self.matrix, self.inverse, self.l2, self.movies = matrix, inverse, l2, movies
        self.diagonal = (1 - (matrix * (inverse @ matrix)).sum(0)) / l2

    def scores(self, rated: Interactions) -> Tensor:
        rows = _dense(self.movies.only(rated), self.movies.row.numel())
        return self.movies.expand(rows - self._times_inverse(rows) / self.diagonal, 1)

    def tables(self, dim: int) -> tuple[Tensor, Tensor]:
        fitted = self.matrix - self._times_inverse(self.matrix) / self.diagonal
        values, vectors = torch.linalg.eigh(fitted @ fitted.T)
        values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
        kept = values > values[:1] * 10 * torch.finfo(values.dtype).eps
        target = fitted.T @ (vectors[:, kept] / values[kept].sqrt())
        embedding = target - self._times_inverse((target / self.diagonal[:, None]).T).T
        padding = [0, dim - target.shape[1]]
        embedding, target = (torch.nn.functional.pad(table, padding) for table in (embedding, target))
        return self.movies.expand(embedding, 0), self.movies.expand(target, 0)

    def _times_inverse(self, rows: Tensor) -> Tensor:
        """Computes ``rows P``, float64 ``[rows, n]``."""
        return (rows - (rows @ self.matrix.T) @ self.inverse @ self.matrix) / self.l2


def _dense(rated: Interactions, columns: int) -> Tensor:
    """Returns ``X``, float64 ``[users, columns]``, the weight of each rating, by default 1."""
    matrix = torch.zeros(rated.num_users, columns, dtype=torch.float64, device=rated.movie.device)
    values = torch.ones_like(rated.movie, dtype=torch.float64) if rated.weight is None else rated.weight
    matrix[owners(rated.user_ptr, torch.int64), rated.movie.long()] = values
    return matrix


def _gathered(rated: Interactions, world: World) -> Interactions:
    """Returns the ratings of the users of all ranks, of those with any, on every rank."""
    counts = rated.user_ptr.diff()
    weight = torch.ones_like(rated.movie, dtype=torch.float64) if rated.weight is None else rated.weight
    own = tuple(part.cpu().numpy() for part in (counts[counts > 0], rated.movie, weight))
    parts = zip(*world.all_gather_objects(own))
    count, movie, weight = (torch.from_numpy(np.concatenate(part)).to(world.device) for part in parts)
    edge = torch.arange(len(movie))
    return Interactions(offsets(count), movie, torch.ones_like(movie), edge, weight=weight)
