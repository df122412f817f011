"""Exact embeddings of all users and movies, layer by layer, over chunks of users.

Every node uses all its neighbours. A layer is finished for everybody before the next begins, so nothing is computed
twice and no neighbourhood is ever expanded. Movie sums are collected over the chunks of a rank, then over ranks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from gnnrec.graph.batch import Batch, Messages, whole_graph
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.kernels.lists import Lists
from gnnrec.models.conv import BipartiteConv, Sources
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.encoder import EncoderLayer, layer_receiver, layer_sources, start_state
from gnnrec.models.gat import BipartiteGATConv
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables


@torch.no_grad()
def embed_all(
    model: RatingModel, users: NodeTables, graph: RankGraph, chunk: int = 65536, drift: bool = True
) -> Embeddings:
    """Embeddings of this rank's users and of all movies.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph; all its edges carry messages. Every rank calls this.
        chunk: Users whose messages are worked on at a time.
        drift: Keep what gives effects of time, for ratings whose time is known.
    """
    statistics = message_statistics(graph, tables=drift)
    user_rows, movie_rows = users.rows(), model.movie_rows()
    user_state, movie_state = start_state(user_rows), start_state(movie_rows)
    for layer in model.encoder.layers:
        graph.world.poll()
        from_users = layer_sources(layer, user_rows, user_state)
        from_movies = layer_sources(layer, movie_rows, movie_state)
        to_users = _embed_users(layer, from_movies, user_rows, user_state, graph, statistics, chunk)
        receiver = layer_receiver(layer.to_movies, movie_rows, movie_state)
        to_movies = _embed_movies(layer.to_movies, from_users, receiver, graph, statistics, chunk)
        user_state = user_state + layer.user_out(torch.tanh(to_users))
        movie_state = movie_state + layer.movie_out(torch.tanh(to_movies))
    biases = statistics.mean, statistics.user_bias, statistics.movie_bias
    batch = Batch(None, graph.user_rows, None, None, *biases, statistics.drift)
    return model.with_biases(batch, user_state, movie_state, user_rows["bias"], movie_rows["bias"])


def _embed_users(
    layer: EncoderLayer,
    sources: Sources,
    rows: dict[str, Tensor],
    state: Tensor,
    graph: RankGraph,
    statistics: MessageStatistics,
    chunk: int,
) -> Tensor:
    receiver = layer_receiver(layer.to_users, rows, state)
    parts = [
        layer.to_users(sources, receiver[first:last], to_users, None)
        for first, last, to_users, _ in _chunks(graph, statistics, chunk)
    ]
    return torch.cat(parts) if parts else state


def _embed_movies(
    conv: BipartiteConv,
    sources: Sources,
    receiver: Tensor,
    graph: RankGraph,
    statistics: MessageStatistics,
    chunk: int,
) -> Tensor:
    sources, shift, messages, total = conv.transform(sources), None, None, None
    if isinstance(conv, BipartiteGATConv):
        largest = receiver.new_full((graph.num_movies, conv.heads), -torch.inf)
        for first, last, _, messages in _chunks(graph, statistics, chunk):
            largest = torch.maximum(largest, conv.largest_logit(sources.rows(slice(first, last)), receiver, messages))
        shift = graph.world.max_(largest)
    for first, last, _, messages in _chunks(graph, statistics, chunk):
        part = conv.partial(sources.rows(slice(first, last)), receiver, messages, None, shift)
        total = part if total is None else total + part
    # Finishing a movie needs its degrees alone, which every chunk knows.
    return conv.finish(total.reduced(graph.world.reduce), receiver, messages)


def _chunks(
    graph: RankGraph, statistics: MessageStatistics, chunk: int
) -> Iterator[tuple[int, int, Messages, Messages]]:
    """First user, one past the last, and the messages to and from the users of each chunk (at least one chunk)."""
    whole, edges = whole_graph(graph, statistics).to_users, statistics.edges
    for first in range(0, max(graph.num_users, 1), chunk):
        last = min(first + chunk, graph.num_users)
        pointer = edges.pointer[first : last + 1]
        chosen, degree = slice(int(pointer[0]), int(pointer[-1])), statistics.user_degree[first:last]
        lists = Lists(pointer - pointer[0], edges.movie[chosen], graph.num_movies, edges.residual[chosen])
        to_users = dataclasses.replace(whole, lists=lists, level=edges.level[chosen], degree=degree, total=degree)
        yield first, last, to_users, to_users.turned()
