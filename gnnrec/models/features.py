"""Features of nodes in the rating model: linear maps of ``x`` that are added to table rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gnnrec.data.features.node_features import FeatureGroup, NodeFeatures
from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition
from gnnrec.kernels.feature_sums import add_features
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import STREAMS

#: Nodes whose features are compared with zero at a time.
_BLOCK = 65536
#: Weight of a text or vector, whose many columns say little each, beside that of another column of a table.
TEXT_SHARE = 0.1


class FeatureMap(nn.Module):
    """Weights of features: each table row gets the node's features times the weights of its table, initially zero.

    Attributes:
        scale: Factors of the columns, from :func:`column_scale`: so L2 and learning rates that fit rows fit weights of
            any number of columns. Float ``[columns]``, not trained; None for ones.

    Args:
        columns: Number of columns of the features.
        row_shapes: Table -> shape of a row.
        scaled: Have a scale, initially ones.
    """

    def __init__(self, columns: int, row_shapes: dict[str, tuple[int, ...]], scaled: bool = True):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(columns), requires_grad=False) if scaled else None
        # In the order of streams, as pairs, since ParameterDict sorts a plain dictionary: the order of parameters
        # decides the last bit of gradient norms.
        names = sorted(row_shapes, key=lambda name: STREAMS.get(name, name))
        self.tables = nn.ParameterDict([(name, torch.zeros(columns, *row_shapes[name])) for name in names])

    def forward(self, rows: dict[str, Tensor], x: Tensor, kept: Tensor | None = None) -> dict[str, Tensor]:
        """Adds the part of the features to table rows.

        Args:
            rows: Table -> rows, float ``[nodes, ...]``.
            x: Features of the nodes, float ``[nodes, columns]``.
            kept: 0 for nodes without rows, whose features are all that they have, else 1: float ``[nodes]``; None for
                ones.
        """
        weights = {name: self.tables[name] for name in rows}
        if self.scale is not None:
            weights = {name: table * self.scale.view(-1, *table[0].dim() * [1]) for name, table in weights.items()}
            if x.device.type == "cpu":
                hidden = None if kept is None else (kept == 0).nonzero().squeeze(1)
                return {name: _AddFeatures.apply(table, x, weights[name], hidden) for name, table in rows.items()}
        if kept is not None:
            rows = {name: table * kept.view(-1, *[1] * (table.dim() - 1)) for name, table in rows.items()}
        return dict(zip(rows, add_features(list(rows.values()), x, [weights[name] for name in rows])))


class _AddFeatures(torch.autograd.Function):
    """Adds ``x @ weights`` to rows but hidden ones, which it replaces: in as few readings of the rows as possible."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, x: Tensor, weights: Tensor, hidden: Tensor | None) -> Tensor:
        out = torch.addmm(rows, x, weights) if rows.dim() > 1 else torch.addmv(rows, x, weights)
        if hidden is not None:
            out[hidden] = x[hidden] @ weights
        ctx.save_for_backward(x, hidden)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, Tensor, None]:
        x, hidden = ctx.saved_tensors
        (gradient,) = gradients
        of_rows = gradient if hidden is None else gradient.index_fill(0, hidden, 0)
        return of_rows, None, x.T @ gradient, None


class GenreFeatures(FeatureMap):
    """Learned genre rows: each movie table gets the sum over the movie's genres, divided by the root of their number.

    Args:
        membership: Float ``[movies, genres]``, 1 if a movie has the genre, on the device of the model.
        row_shapes: Table -> shape of the row of a movie.
    """

    def __init__(self, membership: Tensor, row_shapes: dict[str, tuple[int, ...]]):
        super().__init__(membership.shape[1], row_shapes, scaled=False)
        self.set_membership(membership)

    def set_membership(self, membership: Tensor) -> None:
        """Sets the genres of the movies, float ``[movies, genres]``."""
        scaled = membership / membership.sum(1, keepdim=True).clamp(min=1).sqrt()
        # Not a buffer: DDP would broadcast it in every step.
        self.x = scaled.to(torch.get_default_dtype())


@torch.no_grad()
def column_scale(
    x: Tensor, ratings: Tensor, schema: tuple[FeatureGroup, ...], world: World, text_share: float = TEXT_SHARE
) -> Tensor:
    """Computes factors of columns by which the features of nodes with ratings have a mean squared length of 1.

    Each column of a table has the same part of it, whatever its unit and its number of columns of the array; texts and
    vectors have ``text_share`` times as much. Columns of zeros have a factor of 0.

    Args:
        x: Features, float ``[nodes, columns]``.
        ratings: Ratings of the nodes, ``[nodes]``, on any device.
        schema: Groups of columns.
        world: The ranks of the other nodes; every rank calls this.
        text_share: Weight of a text or vector beside another column of a table.

    Returns:
        Float ``[columns]``, on the device of the features.
    """
    sums = torch.zeros(x.shape[1] + 1, dtype=torch.float64, device=x.device)
    for block, number in zip(x.split(_BLOCK), ratings.split(_BLOCK)):
        rated = number.to(x.device) > 0
        sums[:-1] += block[rated].double().square().sum(0)
        sums[-1] += rated.sum()
    sums = world.all_reduce_sum_(sums.to(world.device))
    squares = [float(sums[group.slice].sum() / sums[-1].clamp(min=1)) for group in schema]
    shares = [text_share if group.kind in ("text", "vector") else 1.0 for group in schema]
    total = sum(share for share, square in zip(shares, squares) if square)
    scale = sums.new_zeros(x.shape[1])
    for group, share, square in zip(schema, shares, squares):
        if square:
            scale[group.slice] = (share / total / square) ** 0.5
    return scale.to(x)


def load_features(features: NodeFeatures, part: Partition, memory: RowMemory) -> Tensor:
    """Reads the features of the users of a rank, shard by shard: float ``[users, columns]``.

    Args:
        features: Features of all users.
        part: The users.
        memory: Memory of the result.

    Raises:
        UserError: The features are damaged, or the disk is full.
    """
    x = memory.zeros((part.num_users, features.x.shape[1]), torch.get_default_dtype())
    for first, stop in zip(part.shards[:-1], part.shards[1:]):
        x[first - part.start : stop - part.start] = torch.from_numpy(features.read(first, stop))
    return x


def pick_features(features: NodeFeatures, rows: np.ndarray) -> Tensor:
    """Reads and checks the features of single nodes, int64 ``[n]``: float ``[n, columns]``, on the host."""
    for row in rows.tolist():
        features.check(row, row + 1)
    return torch.from_numpy(np.asarray(features.x[rows])).to(torch.get_default_dtype())


def column_sums(x: Tensor, *values: Tensor) -> list[Tensor]:
    """Sums values of nodes over the nodes whose features are not zero, column by column: float64 ``[columns]`` each.

    Args:
        x: Features, float ``[nodes, columns]``.
        values: Float64 ``[nodes]``, on any device.
    """
    sums = [torch.zeros(x.shape[1], dtype=torch.float64, device=value.device) for value in values]
    for first in range(0, len(x), _BLOCK):
        members = (x[first : first + _BLOCK] != 0).double()
        for total, value in zip(sums, values):
            total += value[first : first + _BLOCK] @ members.to(value.device)
    return sums


def genre_membership(genres: list[str], known: list[str] | None = None) -> Tensor | None:
    """Converts ``|``-separated genre strings to float ``[movies, genres]``; None if no movie has genres.

    Args:
        genres: Genres of the movies.
        known: Strings with the genres that have columns; None for those of the movies.
    """
    names = genre_names(known or []) or genre_names(genres)
    if not names:
        return None
    column = {name: number for number, name in enumerate(names)}
    membership = torch.zeros(len(genres), len(names))
    for movie, text in enumerate(genres):
        membership[movie, [column[name] for name in _split(text) if name in column]] = 1
    return membership


def genre_names(genres: list[str]) -> list[str]:
    """Names of the genres in ``|``-separated strings, in the order of the rows of their tables."""
    return sorted({name for text in genres for name in _split(text)})


def _split(text: str) -> list[str]:
    return [name for name in text.split("|") if name and name != "(no genres listed)"]
