"""Exact embeddings of all users and movies, layer by layer, over chunks of users.

Every node uses all its neighbours. A layer is finished for everybody before the next begins, so nothing is computed
twice and no neighbourhood is ever expanded. Movie sums are collected over the chunks of a rank, then over ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gnnrec.graph.batch import Batch, Messages
from gnnrec.kernels.ragged import counting_sort, owners
from gnnrec.graph.rank_graph import RankGraph
from gnnrec.graph.statistics import MessageStatistics, message_statistics
from gnnrec.models.conv import BipartiteConv, Sources
from gnnrec.models.embeddings import Embeddings
from gnnrec.models.encoder import EncoderLayer, layer_receiver, layer_sources, start_state
from gnnrec.models.gat import BipartiteGATConv
from gnnrec.models.rating_model import RatingModel
from gnnrec.models.tables import NodeTables


@torch.no_grad()
def embed_all(model: RatingModel, users: NodeTables, graph: RankGraph, chunk: int = 65536) -> Embeddings:
    """Embeddings of this rank's users and of all movies.

    Args:
        model: The replicated part, without DDP.
        users: This rank's user rows.
        graph: The rank's graph; all its edges carry messages. Every rank calls this.
        chunk: Users whose messages are worked on at a time.
    """
    statistics = message_statistics(graph)
    user_rows, movie_rows = users.rows(), model.movie_rows()
    user_state, movie_state = start_state(user_rows), start_state(movie_rows)
    for layer in model.encoder.layers:
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
    sources, shift = conv.transform(sources), {}
    if isinstance(conv, BipartiteGATConv):
        largest = receiver.new_full((graph.num_movies, conv.heads), -torch.inf)
        for first, last, _, to_movies in _chunks(graph, statistics, chunk):
            largest = torch.maximum(largest, conv.largest_logit(sources.rows(slice(first, last)), receiver, to_movies))
        shift = {"shift": graph.world.max_(largest)}
    total = None
    for first, last, _, to_movies in _chunks(graph, statistics, chunk):
        part = conv.partial(sources.rows(slice(first, last)), receiver, to_movies, None, **shift)
        total = part if total is None else total + part
    whole = _movie_degrees(graph, statistics)
    return conv.finish(total.reduced(graph.world.reduce), receiver, whole)


def _movie_degrees(graph: RankGraph, statistics: MessageStatistics) -> Messages:
    """What finishing a movie needs of its messages: degrees over all ranks."""
    empty = graph.movie_ptr.new_zeros(0)
    return _messages(graph, graph.movie_ptr, empty, empty, empty, statistics.movie_degree, statistics.user_degree)


def _messages(
    graph: RankGraph,
    pointer: Tensor,
    sender: Tensor,
    residual: Tensor,
    level: Tensor,
    degree: Tensor,
    sender_degree: Tensor,
) -> Messages:
    """Messages without the order by sender, which only a backward pass needs."""
    weight = torch.ones_like(residual)
    none = pointer[:0]
    return Messages(
        pointer, sender, none, none, none, weight, weight[:0], residual, residual[:0], level, graph.num_levels,
        degree, sender_degree, None, degree,
    )  # fmt: skip


def _chunks(
    graph: RankGraph, statistics: MessageStatistics, chunk: int
) -> Iterator[tuple[int, int, Messages, Messages]]:
    """First user, one past the last, and the messages to and from the users of each chunk (at least one chunk)."""
    for first in range(0, max(graph.num_users, 1), chunk):
        last = min(first + chunk, graph.num_users)
        pointer = graph.user_ptr[first : last + 1]
        edges = slice(int(pointer[0]), int(pointer[-1]))
        pointer, movie, level = pointer - pointer[0], graph.movie[edges], graph.level[edges]
        owner = owners(pointer)
        residual = statistics.residual[edges]
        user_degree = statistics.user_degree[first:last]
        to_users = _messages(graph, pointer, movie, residual, level, user_degree, statistics.movie_degree)
        movie_pointer, order = counting_sort(movie, graph.num_movies)
        to_movies = _messages(
            graph, movie_pointer, owner[order], residual[order], level[order], statistics.movie_degree, user_degree
        )
        yield first, last, to_users, to_movies
