"""The graph as PyG's ``HeteroData``: for PyG's samplers, models and tools."""

from __future__ import annotations

import torch
from torch_geometric.data import HeteroData

from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER
from gnnrec.kernels.ragged import owners


def hetero_data(graph: RankGraph) -> HeteroData:
    """This rank's message edges with int64 ``edge_index``: 36 bytes an edge more than the graph itself.

    Node types ``user`` (local rows, ``n_id`` = global rows) and ``movie``; relations ``rates`` and its reverse
    ``rated_by``, edges sorted by user; ``edge_attr`` is the rating scaled from the rating scale to 0 to 1, float
    ``[edges, 1]``.
    """
    data = empty_hetero_data(graph)
    data[USER].n_id = graph.user_rows
    user, movie = owners(graph.user_ptr, torch.int64), graph.movie.to(torch.int64)
    low, high = graph.rating_scale
    scaled = ((graph.rating - low) / max(high - low, 1e-12)).unsqueeze(1)
    data[RATES].edge_index, data[RATES].edge_attr = torch.stack([user, movie]), scaled
    data[RATED_BY].edge_index, data[RATED_BY].edge_attr = torch.stack([movie, user]), scaled
    return data


def empty_hetero_data(graph: RankGraph) -> HeteroData:
    """Node counts only: what PyG's loaders must know when the sampler brings the graph itself."""
    data = HeteroData()
    data[USER].num_nodes, data[MOVIE].num_nodes = graph.num_users, graph.num_movies
    return data
