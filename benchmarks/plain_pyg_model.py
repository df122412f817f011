"""The model of the plain PyG recipe: hetero GraphSAGE over embeddings, dot product and biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.utils import trim_to_layer

from benchmarks.plain_pyg_graph import MOVIE, RATED_BY, RATES, USER, PlainGraph, csr


class PlainSAGE(nn.Module):
    """Embeddings, hetero GraphSAGE (mean), dot product, biases.

    Args:
        graph: Has the counts and the mean.
        dims: Dimensions of embeddings and layers.
        layers: Number of layers.
        sparse: Add up messages as a product with a sparse matrix (PyG's memory-efficient aggregation) and not by gather
            and scatter: the same values, and on a CPU in half of the time.
    """

    def __init__(self, graph: PlainGraph, dims: int = 64, layers: int = 2, sparse: bool = True):
        super().__init__()
        self.sparse = sparse
        counts = {USER: graph.num_users, MOVIE: graph.num_movies}
        self.mean = graph.mean
        self.embedding = nn.ModuleDict({kind: nn.Embedding(count, dims) for kind, count in counts.items()})
        self.bias = nn.ModuleDict({kind: nn.Embedding(count, 1) for kind, count in counts.items()})
        self.layers = nn.ModuleList(
            HeteroConv({relation: SAGEConv((dims, dims), dims) for relation in (RATES, RATED_BY)})
            for _ in range(layers)
        )
        for kind in counts:
            # The default standard deviation of 1 makes predictions that are far off the scale.
            nn.init.normal_(self.embedding[kind].weight, std=0.1)
            nn.init.zeros_(self.bias[kind].weight)

    def encode(self, x: dict[str, Tensor], edges: dict, sampled: tuple[dict, dict] | None = None) -> dict[str, Tensor]:
        """float ``[nodes, dims]`` by node type.

        Args:
            x: Embeddings, float ``[nodes, dims]`` by node type.
            edges: By relation, ``edge_index`` or a sparse matrix ``[receivers, senders]``.
            sampled: Nodes and edges of each hop by type, where the sampler counts them. The first nodes are the seeds.
        """
        for number, layer in enumerate(self.layers):
            if sampled is not None:
                x, edges, _ = trim_to_layer(number, *sampled, x, edges)
            if self.sparse:
                x = layer(x, {kind: sparse_matrix(edge, x[kind[2]], x[kind[0]]) for kind, edge in edges.items()})
            else:
                x = layer(x, edges)
            if number + 1 < len(self.layers):
                x = {kind: rows.relu() for kind, rows in x.items()}
        return x

    def score(self, user: Tensor, movie: Tensor, user_row: Tensor, movie_row: Tensor) -> Tensor:
        """Predicted ratings, float ``[edges]``, of encoded users and movies ``[edges, dims]`` and their graph rows."""
        bias = self.bias[USER](user_row) + self.bias[MOVIE](movie_row)
        return self.mean + bias.squeeze(1) + (user * movie).sum(1)

    def forward(self, batch: HeteroData) -> Tensor:
        """Predicted ratings of a sampled batch's ``edge_label_index``, float ``[edges]``."""
        x = {kind: table(batch[kind].n_id) for kind, table in self.embedding.items()}
        sampled = None
        if batch[USER].get("num_sampled_nodes") is not None:
            sampled = batch.num_sampled_nodes_dict, batch.num_sampled_edges_dict
        x = self.encode(x, batch.edge_index_dict, sampled)
        user, movie = batch[RATES].edge_label_index
        return self.score(x[USER][user], x[MOVIE][movie], batch[USER].n_id[user], batch[MOVIE].n_id[movie])


def sparse_matrix(edges: Tensor, receivers: Tensor, senders: Tensor) -> Tensor:
    """Sparse CSR of ones, float ``[receivers, senders]``.

    Args:
        edges: ``edge_index``, int64 ``[2, edges]``, senders first; or such a matrix, which is returned.
        receivers: Anything with a row for each receiver.
        senders: Anything with a row for each sender.
    """
    if edges.layout == torch.sparse_csr:
        return edges
    sender, receiver = edges
    # The samplers go from receiver to receiver, so edges are sorted already; but this is not documented.
    if bool((receiver.diff() < 0).any()):
        receiver, order = receiver.sort(stable=True)
        sender = sender[order]
    pointer = torch.zeros(receivers.size(0) + 1, dtype=torch.int64, device=edges.device)
    torch.cumsum(receiver.bincount(minlength=receivers.size(0)), 0, out=pointer[1:])
    return csr(pointer, sender, (receivers.size(0), senders.size(0)))
