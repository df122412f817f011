"""Biased matrix factorisation by alternating least squares, over any number of ranks."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from gnnrec import counters
from gnnrec.baselines.baseline import Baseline, Fitted
from gnnrec.baselines.scoring import fitted_ratings
from gnnrec.data.prepared import PreparedDataset
from gnnrec.distributed import World
from gnnrec.graph.batch import Targets
from gnnrec.graph.rank_graph import RankGraph, build_rank_graph
from gnnrec.graph.statistics import message_statistics
from gnnrec.models.ragged_sum import bag, pair_dot

#: Alternating sweeps over users and movies.
SWEEPS = 10
#: Rows whose normal equations are held at a time.
_BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class Factors:
    """A biased matrix factorisation.

    Attributes:
        user: Float ``[users, dim + 2]``: factors, bias, 1.
        movie: Float ``[movies, dim + 2]``: factors, 1, bias.
        mean: Float scalar.
    """

    user: Tensor
    movie: Tensor
    mean: Tensor


def predict(factors: Factors, targets: Targets) -> Tensor:
    """Predicted ratings of targets, not clipped, float ``[targets]``."""
    return pair_dot(factors.user, factors.movie, targets) + factors.mean


@torch.no_grad()
def fit_factors(graph: RankGraph, dim: int, strength: float, seed: int) -> Factors:
    """Biased MF by alternating least squares with weighted ridge (Zhou et al., "Large-scale parallel collaborative
    filtering", AAIM 2008).

    Each side in turn solves ``(sum x x' + strength n I) w = sum x y`` for its factors and bias.

    A user's normal equations are local; a movie's are summed over ranks, block by block. So the result does not depend
    on the number of ranks.

    Args:
        graph: The rank's graph. Every rank calls this.
        dim: Factors of a row, without its bias.
        strength: Ridge a rating.
        seed: Seed of the initial movie factors.
    """
    statistics = message_statistics(graph)
    stream = counters.key(seed, "init", "biased MF")
    movie_rows = torch.arange(graph.num_movies, device=graph.device)
    factors = counters.normal_rows(stream, movie_rows, dim).to(graph.dtype) * dim**-0.5
    movie = torch.cat([factors, torch.ones_like(factors[:, :1]), statistics.movie_bias.unsqueeze(1)], 1)
    centred, centred_by_movie = graph.rating - statistics.mean, graph.rating_by_movie - statistics.mean
    for _ in range(SWEEPS):
        # A user's columns: factors against movie factors, its bias against 1; the movie's bias is known.
        user = _solve(movie, graph.movie, graph.user_ptr, centred, strength, None)
        user = torch.cat([user, torch.ones_like(user[:, :1])], 1)
        # For a movie the last two columns change roles: the user's bias is known, its own bias stands against 1.
        swapped = torch.cat([user[:, :dim], user[:, [dim + 1, dim]]], 1)
        movie = _solve(swapped, graph.user, graph.movie_ptr, centred_by_movie, strength, graph.world)
        movie = torch.cat([movie[:, :dim], torch.ones_like(movie[:, :1]), movie[:, dim:]], 1)
    return Factors(user, movie, statistics.mean)


def _solve(
    table: Tensor, index: Tensor, pointer: Tensor, rating: Tensor, strength: float, world: World | None
) -> Tensor:
    """Ridge regression of each row's ratings on the other side's columns, float ``[rows, dim + 1]``.

    The outer products of the columns are a table of their own, so the normal equations of a row are one ragged sum.

    Args:
        table: Float ``[others, dim + 2]``; the last column is known and is subtracted from ratings.
        index: Other side of each edge.
        pointer: Offsets of the rows.
        rating: Centred ratings.
        strength: Ridge a rating.
        world: The ranks to sum over, or None.
    """
    columns, known = table[:, :-1].contiguous(), table[:, -1]
    width = columns.shape[1]
    upper = torch.triu_indices(width, width, device=table.device)
    products = columns[:, upper[0]] * columns[:, upper[1]]
    counts = pointer.diff().to(table.dtype)
    identity = torch.eye(width, dtype=table.dtype, device=table.device)
    solved = []
    for first in range(0, pointer.numel() - 1, _BLOCK):
        rows = pointer[first : first + _BLOCK + 1]
        edges = slice(int(rows[0]), int(rows[-1]))
        chosen, offset = index[edges], rows - rows[0]
        left = bag(products, chosen, offset)
        right = bag(columns, chosen, offset, rating[edges] - known[chosen])
        count = counts[first : first + _BLOCK]
        if world is not None:
            left, right, count = world.sum_(left), world.sum_(right), world.sum_(count.clone())
        matrix = left.new_zeros(left.shape[0], width, width)
        matrix[:, upper[0], upper[1]] = left
        matrix[:, upper[1], upper[0]] = left
        ridge = strength * count.clamp(min=1)
        solved.append(torch.linalg.solve(matrix + ridge[:, None, None] * identity, right))
    return torch.cat(solved) if solved else columns.new_zeros(0, width)


def fit_biased_mf(dataset: PreparedDataset, world: World, splits: tuple[int, ...], seed: int, setting: dict) -> Fitted:
    """Biased MF with the ``dim`` and ``strength`` of ``setting``."""
    graph = build_rank_graph(dataset, world, splits)
    factors = fit_factors(graph, setting["dim"], setting["strength"], seed)
    return fitted_ratings(dataset, graph, lambda targets: predict(factors, targets))


GRID = tuple({"dim": 16, "strength": strength} for strength in (0.15, 0.05, 0.1, 0.2))
BIASED_MF = Baseline("biased MF", "rating", GRID, fit_biased_mf)
