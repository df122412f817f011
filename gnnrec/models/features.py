"""Features of nodes in the rating model: linear maps of ``x`` that are added to table rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gnnrec.data.features.node_features import NodeFeatures
from gnnrec.distributed.world import World
from gnnrec.graph.partition import Partition
from gnnrec.kernels.feature_sums import add_features
from gnnrec.models.row_memory import RowMemory
from gnnrec.models.tables import STREAMS

#: Nodes whose features are compared with zero at a time.
_BLOCK = 65536


class FeatureMap(nn.Module):
    """Weights of features: each table row gets the node's features times the weights of its table, initially zero.

    Attributes:
        scale: Factor of the features, which gives the vectors of nodes a mean square length of 1, as genres have: so
            L2 and learning rates that fit rows fit weights of any number of columns. Float scalar, not trained; None
            for 1.

    Args:
        columns: Number of columns of the features.
        row_shapes: Table -> shape of a row.
        scaled: Have a scale, which :meth:`set_scale` sets.
    """

    def __init__(self, columns: int, row_shapes: dict[str, tuple[int, ...]], scaled: bool = True):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()), requires_grad=False) if scaled else None
        # In the order of streams, as pairs, since ParameterDict sorts a plain dictionary: the order of parameters
        # decides the last bit of gradient norms.
        names = sorted(row_shapes, key=lambda name: STREAMS.get(name, name))
        self.tables = nn.ParameterDict([(name, torch.zeros(columns, *row_shapes[name])) for name in names])

    def forward(self, rows: dict[str, Tensor], x: Tensor, kept: Tensor | None = None) -> dict[str, Tensor]:
        """Adds the part of the features to table rows.

        Args:
            rows: Table -> rows, float ``[nodes, ...]``.
            x: Features of the nodes, float ``[nodes, columns]``.
            kept: Factors of the rows, but not of the features, float ``[nodes]``; None for ones.
        """
        if kept is not None:
            rows = {name: table * kept.view(-1, *[1] * (table.dim() - 1)) for name, table in rows.items()}
        weights = self.tables if self.scale is None else {name: self.tables[name] * self.scale for name in rows}
        return dict(zip(rows, add_features(list(rows.values()), x, [weights[name] for name in rows])))

    @torch.no_grad()
    def set_scale(self, x: Tensor, degree: Tensor, world: World) -> None:
        """Sets the scale from nodes with ratings.

        Args:
            x: Features, float ``[nodes, columns]``.
            degree: Ratings of the nodes, int64 ``[nodes]``, on any device.
            world: The ranks of the other nodes; every rank calls this.
        """
        assert self.scale is not None
        square = number = 0.0
        for block, ratings in zip(x.split(_BLOCK), degree.split(_BLOCK)):
            rated = ratings.to(x.device) > 0
            square += float(block[rated].double().square().sum())
            number += float(rated.sum())
        sums = torch.tensor([square, number], dtype=torch.float64, device=world.device)
        square, number = world.all_reduce_sum_(sums).tolist()
        self.scale.fill_((max(number, 1.0) / square) ** 0.5 if square else 1.0)


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
