"""Converts the graph to PyG's ``HeteroData``, for PyG's samplers, models and tools."""

from __future__ import annotations

import torch

from gnnrec.data.prepared import PreparedDataset
from gnnrec.graph.pyg import HeteroData
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.sampler import MOVIE, RATED_BY, RATES, USER
from gnnrec.kernels.ragged import owners


def hetero_data(graph: RankGraph, dataset: PreparedDataset | None = None) -> HeteroData:
    """Converts this rank's message edges; the int64 ``edge_index`` and ``edge_attr`` need 36 more bytes per edge.

    Node types are ``user`` (local rows, ``n_id`` = global rows) and ``movie``; relations are ``rates`` and its reverse
    ``rated_by``, with edges sorted by user; ``edge_attr`` is the rating scaled from the rating scale to 0 to 1, float
    ``[edges, 1]``.

    Args:
        graph: The graph of this rank.
        dataset: The prepared dataset of the graph, whose features become ``x`` of its node types, float
            ``[nodes, columns]``; by default, and for nodes without features, there is no ``x``.
    """
    data = empty_hetero_data(graph)
    data[USER].n_id = graph.user_rows
    user, movie = owners(graph.user_ptr, torch.int64), graph.movie.to(torch.int64)
    low, high = graph.rating_unit.standardized_scale
    scaled = ((graph.rating - low) / max(high - low, 1e-12)).unsqueeze(1)
    data[RATES].edge_index, data[RATES].edge_attr = torch.stack([user, movie]), scaled
    data[RATED_BY].edge_index, data[RATED_BY].edge_attr = torch.stack([movie, user]), scaled
    if dataset is not None:
        if (users := dataset.features("user")) is not None:
            data[USER].x = torch.from_numpy(users.read(graph.part.start, graph.part.stop)).to(graph.rating)
        if (movies := dataset.features("movie")) is not None:
            data[MOVIE].x = torch.from_numpy(movies.read()).to(graph.rating)
    return data


def empty_hetero_data(graph: RankGraph) -> HeteroData:
    """Returns node counts only, which is all that PyG's loaders need if the sampler holds the graph."""
    data = HeteroData()
    data[USER].num_nodes, data[MOVIE].num_nodes = graph.num_users, graph.num_movies
    return data
