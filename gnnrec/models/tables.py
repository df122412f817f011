"""Embedding tables of users and movies. User rows are on the rank that owns the user; movie rows on every rank."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gnnrec import rng
from gnnrec.models.row_memory import RowMemory

#: Initial rows that are drawn at a time.
_BLOCK = 65536
#: Table -> random stream of its initial rows. Streams keep their names when tables are renamed, so that initial values
#: stay the same.
STREAMS = {
    "message_embedding": "source",
    "residual_embedding": "residual_source",
    "id_embedding": "identity",
    "target": "target",
}


class NodeTables(nn.Module):
    """Embedding tables with one row per node: message embeddings, which a node sends, and its id embedding.

    Attributes:
        message_embedding: Float ``[rows, dim]``: the value of a node's messages.
        residual_embedding: Float ``[rows, dim]``: the part of a message that is multiplied by the residual.
        id_embedding: Float ``[rows, dim]``: initial state; absent from an inductive model.
        bias: Float ``[rows]``.
        x: Features of the nodes, float ``[rows, columns]``, in the memory of the tables; None without features.

    Args:
        kind: ``user`` or ``movie``; part of the key of initial rows.
        rows: Global row numbers, int64 ``[rows]``: initial rows do not depend on the rank.
        dim: Channels.
        seed: Seed of the run.
        init_std: Standard deviation of initial message and residual embeddings; 0 draws none.
        id_init_std: Standard deviation of initial id embeddings.
        ids: Add id embeddings.
        messages: Add message and residual embeddings.
        memory: Memory of the tables; None for the device of ``rows``.
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
        self.x: Tensor | None = None

        def table(name: str, deviation: float) -> nn.Parameter:
            stream, values = rng.key(seed, "init", kind, STREAMS[name]), self._zeros(rows.numel(), dim)
            # One block at a time: mapped files can be larger than memory.
            for block_rows, block in zip(rows.split(_BLOCK), values.split(_BLOCK)) if deviation else ():
                block.copy_(rng.normal_rows(stream, block_rows, dim).mul_(deviation))
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
        """Returns the tables by name, in the memory that holds them."""
        return dict(self.named_parameters(recurse=False))

    def rows(self, index: Tensor | slice | None = None) -> dict[str, Tensor]:
        """Returns rows (int64 ``[n]``, a slice, or None for all) by table name, on the compute device.

        Features are among them as ``x`` (:meth:`gnnrec.models.rating_model.RatingModel.user_rows`).
        """
        tables = self.tables() if self.x is None else {**self.tables(), "x": self.x}
        if index is None:
            return tables
        if isinstance(index, slice):
            return {name: table[index] for name, table in tables.items()}
        return {name: table.index_select(0, index) for name, table in tables.items()}

    @torch.no_grad()
    def clear_unrated(self, degree: Tensor) -> None:
        """Sets the rows of nodes without ratings to zero, whose features are all that they have.

        Training leaves these rows as they are, since no error depends on them.

        Args:
            degree: Ratings of the nodes, int64 ``[rows]``, on any device.
        """
        for table in self.tables().values():
            table[(degree == 0).to(table.device)] = 0


def row_shapes(dim: int, ids: bool, messages: bool) -> dict[str, tuple[int, ...]]:
    """Returns table -> shape of one row of :class:`NodeTables` with these arguments."""
    names = [*(("message_embedding", "residual_embedding") if messages else ()), *(("id_embedding",) if ids else ())]
    return {**dict.fromkeys(names, (dim,)), "bias": ()}


class NoTables(nn.Module):
    """User tables of a model in which users have no rows."""

    memory = RowMemory(torch.device("cpu"))

    def tables(self) -> dict[str, Tensor]:
        """Returns no tables."""
        return {}

    def rows(self, index: Tensor | slice | None = None) -> dict[str, Tensor]:
        """Returns no tables."""
        return {}


@torch.no_grad()
def reset_weights(module: nn.Module, seed: int) -> None:
    """Initializes linear layers and attention vectors from the seed and their names, the same on every rank.

    Weights are normal with variance ``1 / in_features``, biases zero.
    """
    for name, parameter in module.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in ("weight", "att_src", "att_dst") and parameter.dim() == 2:
            rows = torch.arange(parameter.shape[0], device=parameter.device)
            values = rng.normal_rows(rng.key(seed, "init", name), rows, parameter.shape[1])
            parameter.copy_(values / math.sqrt(parameter.shape[1]))
        elif leaf == "bias" and parameter.dim() == 1:
            parameter.zero_()
