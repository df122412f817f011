"""Learned rows of users and movies. User rows live on the rank that owns the user; movie rows on every rank."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnnrec import rng
from gnnrec.models.row_memory import RowMemory

#: Rows that are drawn at a time.
_BLOCK = 65536
#: Table -> the stream that its initial rows are drawn from. Streams keep their names when tables are renamed, so that
#: initial values stay the same.
STREAMS = {
    "message_embedding": "source",
    "residual_embedding": "residual_source",
    "id_embedding": "identity",
    "target": "target",
}


class NodeTables(nn.Module):
    """One row a node in each table. Source tables are what a node sends, the id table is what it is.

    Attributes:
        message_embedding: Float ``[rows, dim]``: the value of its messages.
        residual_embedding: Float ``[rows, dim]``: what it sends times the residual of a rating.
        id_embedding: Float ``[rows, dim]``, the id embedding; absent from an inductive model.
        bias: Float ``[rows]``.

    Args:
        kind: ``user`` or ``movie``; part of what initial rows are drawn from.
        rows: Global row numbers, int64 ``[rows]``: initial rows are the same on whichever rank they live.
        dim: Channels.
        seed: Seed of the run.
        init_std: Standard deviation of initial message_embedding rows.
        id_init_std: Standard deviation of initial id rows.
        ids: Have an id table.
        messages: Have message_embedding tables.
        memory: Where tables are kept; None for where ``rows`` are.
    """

    def __init__(
        self,
        kind: str,
        rows: Tensor,
        dim: int,
        seed: int,
        init_std: float,
        id_init_std: float,
        ids: bool = True,
        messages: bool = True,
        memory: RowMemory | None = None,
    ):
        super().__init__()
        self.memory = memory or RowMemory(rows.device)

        def table(name: str, deviation: float) -> nn.Parameter:
            stream, values = rng.key(seed, "init", kind, STREAMS[name]), self._zeros(rows.numel(), dim)
            # A block at a time, which need not all be in memory.
            for chosen, block in zip(rows.split(_BLOCK), values.split(_BLOCK)):
                block.copy_(rng.normal_rows(stream, chosen, dim).mul_(deviation))
            return nn.Parameter(values)

        if messages:
            self.message_embedding = table("message_embedding", init_std)
            self.residual_embedding = table("residual_embedding", init_std)
        if ids:
            self.id_embedding = table("id_embedding", id_init_std)
        self.bias = nn.Parameter(self._zeros(rows.numel()))

    def _zeros(self, *shape: int) -> Tensor:
        return self.memory.zeros(shape, torch.get_default_dtype())

    def tables(self) -> dict[str, Tensor]:
        """Table name -> the table, where it is kept."""
        return dict(self.named_parameters(recurse=False))

    def rows(self, chosen: Tensor | slice | None = None) -> dict[str, Tensor]:
        """Table name -> the chosen rows (int64 ``[n]`` or a slice), or all of them, to compute with."""
        tables = self.tables()
        if chosen is None:
            return tables
        if isinstance(chosen, slice):
            return {name: table[chosen] for name, table in tables.items()}
        return {name: table.index_select(0, chosen) for name, table in tables.items()}


class NoTables(nn.Module):
    """Stands for user rows where users have none."""

    memory = RowMemory(torch.device("cpu"))

    def tables(self) -> dict[str, Tensor]:
        """No tables."""
        return {}

    def rows(self, chosen: Tensor | slice | None = None) -> dict[str, Tensor]:
        """No tables."""
        return {}


class GenreFeatures(nn.Module):
    """Learned genre rows, added to the tables of a movie: the sum over its genres, over the root of their number.

    Args:
        membership: Float ``[movies, genres]``, 1 where a movie has the genre, on the device of the model.
        dim: Channels.
        tables: Names of the movie tables.
    """

    def __init__(self, membership: Tensor, dim: int, tables: list[str]):
        super().__init__()
        scaled = membership / membership.sum(1, keepdim=True).clamp(min=1).sqrt()
        # Not a buffer: DDP would broadcast it in every step.
        self.membership = scaled.to(torch.get_default_dtype())
        genres = membership.shape[1]
        self.tables = nn.ParameterDict(
            {name: torch.zeros(genres) if name == "bias" else torch.zeros(genres, dim) for name in tables}
        )

    def forward(self, movies: dict[str, Tensor]) -> dict[str, Tensor]:
        """The movie tables with genre rows added."""
        return {name: table + self.membership @ self.tables[name] for name, table in movies.items()}


@torch.no_grad()
def reset_weights(module: nn.Module, seed: int) -> None:
    """Draws the weights of all linear layers from the seed and their names, the same on every rank.

    Normal with variance ``1 / in_features``, zero biases; attention vectors alike.
    """
    for name, parameter in module.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("weight", "att_src", "att_dst") and parameter.dim() == 2:
            rows = torch.arange(parameter.shape[0], device=parameter.device)
            values = rng.normal_rows(rng.key(seed, "init", name), rows, parameter.shape[1])
            parameter.copy_(values / math.sqrt(parameter.shape[1]))
        elif leaf == "bias" and parameter.dim() == 1:
            parameter.zero_()
