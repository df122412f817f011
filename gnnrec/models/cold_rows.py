"""Rows of movies without ratings: a kernel ridge regression from features to the rows of movies with ratings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gnnrec.data.features.node_features import FeatureGroup
from gnnrec.distributed.world import World
from gnnrec.models.features import column_scale

#: Movies that others are compared with, the most rated ones, and most movies that weights are fitted on.
LANDMARKS, FIT_MOVIES = 1000, 40_000
#: Width of the kernel, where features have a mean squared length of 1; L2 to choose from, where movies have a mean
#: weight of 1.
WIDTH, L2_GRID = 0.6, (1.0, 3.0, 10.0, 30.0, 100.0)
#: Smallest eigenvalue of the kernel between landmarks whose direction is used: sums of others would lose their digits.
_SMALLEST = 1e-3
#: Movies whose rows are computed at a time.
_BLOCK = 65536


class ColdRows(nn.Module):
    """Rows as linear functions of features and of a Gaussian kernel with the most rated movies.

    Nothing here is trained: :meth:`fit` solves for the weights in closed form.

    Attributes:
        scale: Factors of the columns, by which the kernel has a width of 1, float ``[columns]``.
        landmarks: Features of the most rated movies times the scale, float ``[landmarks, columns]``.
        weights: Float ``[landmarks + columns + 1, width]``; the last row is the constant.

    Args:
        columns: Columns of the features.
        schema: Groups of columns.
        movies: Movies of the dataset.
        width: Columns of the rows.
    """

    def __init__(self, columns: int, schema: tuple[FeatureGroup, ...], movies: int, width: int):
        super().__init__()
        self.schema = schema
        landmarks = min(LANDMARKS, movies)
        self.scale = nn.Parameter(torch.zeros(columns), requires_grad=False)
        self.landmarks = nn.Parameter(torch.zeros(landmarks, columns), requires_grad=False)
        self.weights = nn.Parameter(torch.zeros(landmarks + columns + 1, width), requires_grad=False)
        self._problem: _Problem | None = None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Computes rows from the features of movies, float ``[n, columns]``: float ``[n, width]``."""
        blocks = [_functions(block * self.scale, self.landmarks) @ self.weights for block in x.split(_BLOCK)]
        return torch.cat(blocks)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        rows: Tensor,
        ratings: Tensor,
        products: Tensor,
        world: World,
        power: float = 0.0,
        measured: slice = slice(None),
    ) -> None:
        """Fits the weights to the rows of movies with ratings; every rank calls this, and rank 0 computes.

        The L2 is the one with the smallest squared error of scores of a movie that is left out of the fit.

        Args:
            x: Features of all movies, float ``[movies, columns]``; the same at every call.
            rows: Float ``[movies, width]``.
            ratings: Ratings of each movie, ``[movies]``; those with some are fitted. The same at every call.
            products: Sum of ``z z'`` over user vectors ``z``, float ``[n, n]``: ``e' (sum z z') e`` is the squared
                error of the scores of a movie whose measured row is wrong by ``e``.
            world: The ranks.
            power: Exponent of the ratings in the weight of a movie, and of its error.
            measured: The ``n`` columns that scores are computed from.
        """

        def compute() -> list[Tensor]:
            if self._problem is None:
                self._problem = _Problem(x, self.schema, ratings, len(self.landmarks), power)
            problem = self._problem
            fitted = problem.scale, problem.padded_landmarks, problem.solve(rows, products.double(), measured)
            return [part.to(self.weights).cpu() for part in fitted]

        for parameter, values in zip((self.scale, self.landmarks, self.weights), world.run_on_rank0(compute)):
            parameter.copy_(values)

    def release(self) -> None:
        """Frees what :meth:`fit` keeps for further calls."""
        self._problem = None


class _Problem:
    """Functions of the features of movies with ratings, in coordinates in which their sums of products are diagonal.

    Attributes:
        scale: Factors of the columns, float64 ``[columns]``.
        padded_landmarks: Float64 ``[landmarks, columns]``, with zeros where movies with ratings are fewer.

    Args:
        x: Features of all movies.
        schema: Groups of columns.
        ratings: Ratings of each movie.
        landmarks: Number of landmarks.
        power: Exponent of the weight of a movie.
    """

    def __init__(self, x: Tensor, schema: tuple[FeatureGroup, ...], ratings: Tensor, landmarks: int, power: float):
        ratings = ratings.to(x.device)
        by_ratings = ratings.argsort(descending=True, stable=True)[: int((ratings > 0).sum())]
        self._movies = by_ratings[:FIT_MOVIES]
        self.scale = column_scale(x, ratings, schema, World(device=x.device)).double() / WIDTH
        own = x[self._movies].double() * self.scale
        known = own[:landmarks]
        values, vectors = torch.linalg.eigh(_kernel(known, known))
        kept = values > _SMALLEST
        linear = torch.eye(own.shape[1] + 1).to(own)
        back = torch.block_diag(vectors[:, kept] / values[kept].sqrt(), linear)
        functions = _functions(own, known) @ back
        weight = ratings[self._movies].double() ** power
        self._weight = weight / weight.mean()
        squares, vectors = torch.linalg.eigh(functions.T @ (functions * self._weight[:, None]))
        self._squares, self._coordinates = squares.clamp(min=0), functions @ vectors
        # Share of its own row in what is predicted for a movie, by L2: float64 [len(L2_GRID), movies].
        inverses = 1 / (self._squares + torch.tensor(L2_GRID).to(self._squares)[:, None])
        self._own_shares = self._weight * (inverses @ self._coordinates.square().T)
        missing = landmarks - len(known)
        back = back @ vectors
        zeros = back.new_zeros(missing, back.shape[1])
        self._back = torch.cat([back[: len(known)], zeros, back[len(known) :]])
        self.padded_landmarks = torch.cat([known, known.new_zeros(missing, known.shape[1])])

    def solve(self, rows: Tensor, products: Tensor, measured: slice) -> Tensor:
        """Returns weights for rows, float64; arguments as those of :meth:`ColdRows.fit`."""
        rows = rows[self._movies].double()
        right = self._coordinates.T @ (rows * self._weight[:, None])

        def error(l2: float, own_share: Tensor) -> float:
            predicted = self._coordinates @ (right[:, measured] / (self._squares + l2)[:, None])
            wrong = (rows[:, measured] - predicted) * (self._weight.sqrt() / (1 - own_share).clamp(min=1e-6))[:, None]
            return float(((wrong @ products) * wrong).sum())

        _, l2 = min((error(l2, own_share), l2) for l2, own_share in zip(L2_GRID, self._own_shares))
        return self._back @ (right / (self._squares + l2)[:, None])


def _functions(x: Tensor, landmarks: Tensor) -> Tensor:
    """Returns the kernel with landmarks, scaled features ``x``, and 1: float ``[n, landmarks + columns + 1]``."""
    return torch.cat([_kernel(x, landmarks), x, x.new_ones(len(x), 1)], 1)


def _kernel(x: Tensor, landmarks: Tensor) -> Tensor:
    """Computes ``exp(-|x - l|^2 / 2)``, float ``[n, landmarks]``."""
    squares = x.square().sum(1)[:, None] + landmarks.square().sum(1) - 2 * (x @ landmarks.T)
    return squares.clamp_(min=0).mul_(-0.5).exp_()
